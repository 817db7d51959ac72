/** Node.js, npm, and the programs and headers that building needs. */
import { Writable } from 'node:stream';
import { messageOf } from '@nodeos/base';
import { run } from '@nodeos/engine';
import { buildingOf } from '../building.js';
import { needOfProgram, NEEDS, type Need } from '../host/needs.js';
import { isMet, missing } from '../host/present.js';
import { remedyFor } from '../missing-tools.js';
import { sharingOf } from '../sharing.js';
import type { Check, Finding } from './finding.js';

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
export const tools: Check = async (settled, io) => {
  const wanted = NEEDS.filter((need) => need.only === undefined && !isEmulator(need));
  const absent = missing(wanted);
  const names = wanted.filter((need) => !absent.includes(need)).map(({ need }) => need);
  // What is wrong with the remote caches, their own check says.
  const sharing = await sharingOf(buildingOf(settled), { ...io, stderr: NOWHERE }).catch(() => undefined);
  return [
    ...(names.length > 0 ? [{ name: 'tools', state: 'ok', found: names.join(', ') } as const] : []),
    ...absent.map((need) => findingOf(need, sharing !== undefined)),
  ];
};

/** QEMU has a check of its own. */
const isEmulator = ({ probe }: Need): boolean =>
  probe.commands?.some((name) => name.startsWith('qemu-system-')) === true;

const NOWHERE = new Writable({ write: (_chunk, _encoding, done) => done() });

/** @param hasRemotes then what only builds is needed for what no remote cache has */
function findingOf(need: Need, hasRemotes: boolean): Finding {
  const { commands, header, shared } = need.probe;
  const what = commands?.join(', ') ?? header ?? shared?.join(' or ') ?? '';
  const isNeeded = need.verbs.includes('start') && !(hasRemotes && need.steps.length > 0);
  const state = isNeeded ? 'lacking' : 'note';
  return { name: need.need, state, found: `no ${what}: ${need.why}`, remedy: remedyFor(need) };
}

/** The finding of the table for one program, for a check that says more about it. */
export function lackingProgram(program: string): Finding | undefined {
  const need = needOfProgram(program);
  return need && !isMet(need.probe) ? findingOf(need, false) : undefined;
}
