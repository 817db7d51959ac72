/** Node.js, npm, and the programs and headers that building needs. */
import { existsSync, readFileSync } from 'node:fs';
import { messageOf } from '@nodeos/base';
import { run } from '@nodeos/engine';
import type { Io } from '../command.js';
import type { Check, Finding } from './finding.js';
import { hostPackages, type HostPackages, type Need } from './host-packages.js';
import { isMet } from './probe.js';

const OS_RELEASE = '/etc/os-release';
/** The oldest Node.js that the packages name in `engines`. */
const OLDEST_NODE = [20, 19] as const;

/** The first number of a program's `--version`: `7.2.17`. @throws NodeosError if it cannot be run */
export async function versionOf(program: string): Promise<string> {
  const { stdout } = await run(program, ['--version'], { environment: 'host' });
  return /\d+(?:\.\d+)+/.exec(stdout)?.[0] ?? 'of an unknown version';
}

export const node: Check = () => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldMajor, oldMinor] = OLDEST_NODE;
  const isNew = major > oldMajor || (major === oldMajor && minor >= oldMinor);
  const found = `${process.versions.node} (${process.execPath})`;
  return Promise.resolve([
    isNew
      ? { name: 'Node.js', state: 'ok', found }
      : { name: 'Node.js', state: 'lacking', found, remedy: `install Node.js ${OLDEST_NODE.join('.')} or newer` },
  ]);
};

export const npm: Check = async () => {
  try {
    return [{ name: 'npm', state: 'ok', found: await versionOf('npm') }];
  } catch (error) {
    return [{ name: 'npm', state: 'lacking', found: messageOf(error), remedy: 'install npm: it comes with Node.js' }];
  }
};

/** One line for what is there, and one for each need that is not. */
export const tools: Check = async (_args, io) => {
  const table = await hostPackages();
  const wanted = table.NEEDS.filter(({ only }) => only === undefined);
  const absent = table.missing(wanted, (probe) => isMet(probe, io.env));
  const names = wanted.filter((need) => !absent.includes(need)).map(({ need }) => need);
  return [
    ...(names.length > 0 ? [{ name: 'tools', state: 'ok', found: names.join(', ') } as const] : []),
    ...absent.map((need) => findingOf(need, table)),
  ];
};

function findingOf(need: Need, table: HostPackages): Finding {
  const { commands, header, shared } = need.probe;
  const what = commands?.join(', ') ?? header ?? shared?.join(' or ') ?? '';
  return { name: need.need, state: 'lacking', found: `no ${what}: ${need.why}`, remedy: remedyFor(need, table) };
}

/** The command that installs the packages of one need on this system. */
function remedyFor(need: Need, table: HostPackages): string {
  const osRelease = existsSync(OS_RELEASE) ? readFileSync(OS_RELEASE, 'utf8') : undefined;
  const manager = table.managerFor(table.systemIds(osRelease, process.platform));
  if (!manager) return `install ${need.need} by hand: there are no package names for this system`;
  const prefix = manager.root && process.getuid?.() !== 0 ? ['sudo'] : [];
  const { commands } = table.plan(manager, [need], prefix);
  if (commands.length === 0) return need.brewNote ?? need.absent ?? `install ${need.need} by hand`;
  return commands.map((argv) => table.shellLine(argv)).join(' && ');
}

/** The finding of the table for one program, for a check that says more about it. */
export async function lackingProgram(program: string, io: Io): Promise<Finding | undefined> {
  const table = await hostPackages();
  const need = table.NEEDS.find(({ probe }) => probe.commands?.includes(program));
  return need && !isMet(need.probe, io.env) ? findingOf(need, table) : undefined;
}
