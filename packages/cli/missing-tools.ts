/** What this machine lacks for a verb, and the command that installs it. */
import { existsSync, readFileSync } from 'node:fs';
import { MissingProgramError, NodeosError } from '@nodeos/base';
import type { Step } from '@nodeos/engine';
import { managerFor, plan, shellLine, systemIds, type Manager } from './host/managers.js';
import { needOfProgram, needsOfStep, type Need } from './host/needs.js';
import { hasCommand, missing } from './host/present.js';
import type { Io } from './command.js';

const OS_RELEASE = '/etc/os-release';

/** The package manager of this machine, if the table of packages knows it. */
const ownManager = (): Manager | undefined =>
  managerFor(systemIds(existsSync(OS_RELEASE) ? readFileSync(OS_RELEASE, 'utf8') : undefined, process.platform));

/** This machine lacks rows of the table. */
class LackingError extends NodeosError {
  constructor(
    message: string,
    readonly needs: readonly Need[],
    manager: Manager,
  ) {
    super(message, { hint: installHint(needs, manager) });
  }
}

/**
 * Looks for what steps need before the first of them starts: some are needed only after minutes. On a system whose
 * packages are not known, files may lie elsewhere, and the steps find out for themselves.
 * @throws NodeosError that names all that is missing
 */
export function checkTools(steps: readonly Step[]): void {
  const needs = missing([...new Set(steps.flatMap(({ name }) => needsOfStep(name)))]);
  const manager = ownManager();
  if (needs.length === 0 || !manager) return;
  const lacking = steps.filter(({ name }) => needsOfStep(name).some((need) => needs.includes(need)));
  throw new LackingError(
    `this machine lacks what builds ${lacking.map(({ name }) => name).join(', ')}: ${needs.map(described).join(', ')}`,
    needs,
    manager,
  );
}

/** @throws MissingProgramError if a program is not installed */
export function checkProgram(program: string): void {
  if (!hasCommand(program, needOfProgram(program)?.probe.alsoIn)) throw new MissingProgramError(program);
}

/**
 * Does something. If this machine lacks what it needs, and the packages can be installed, does it once more after that.
 * @throws the error that names what is missing, if it cannot be installed
 */
export async function withInstalled<T>(io: Pick<Io, 'install' | 'signal'>, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const needs = needsOf(error).map(({ need }) => need);
    if (needs.length === 0 || !io.install || !(await io.install(needs))) throw error;
    io.signal.throwIfAborted();
    return work();
  }
}

/** The rows of the table that an error is about. */
function needsOf(error: unknown): readonly Need[] {
  if (error instanceof LackingError) return error.needs;
  const need = error instanceof MissingProgramError ? needOfProgram(error.program) : undefined;
  return need ? [need] : [];
}

/** How to install a program that an error names, if the table has it. */
export function hintFor(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const needs = needsOf(error);
  const manager = ownManager();
  return needs.length > 0 && manager ? installHint(needs, manager) : hintFor(error.cause);
}

/** How to install what a row of the table names, on this machine. */
export function remedyFor(need: Need): string {
  const manager = ownManager();
  return manager ? installHint([need], manager) : `install ${need.need} by hand: its packages here are not known`;
}

const described = ({ need, why }: Need): string => `${need} (${why})`;

function installHint(needs: readonly Need[], manager: Manager): string {
  const isRoot = process.getuid?.() === 0;
  const { commands, installable } = plan(manager, [...needs], manager.root && !isRoot ? ['sudo'] : []);
  const absent = needs.filter((need) => !installable.includes(need));
  const notes = absent.map(({ need, brewNote, absent: note }) => `no package for ${need}: ${brewNote ?? note ?? ''}`);
  const install = commands.length === 0 ? [] : [`install it with: ${commands.map(shellLine).join(' && ')}`];
  return [...install, ...notes].join('; ');
}
