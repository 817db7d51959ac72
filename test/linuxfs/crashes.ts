/** Kernels and clients that are killed at random points of their work, and what is there afterwards. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { around, file, random, volatile, type BlockBackend } from '@nodeos/block';
import { open, type MountedFilesystem } from '@nodeos/linuxfs';
import { checked, emptyDisk } from './disks.js';
import { contentOf, work } from './durable-work.js';

const PROGRAM = fileURLToPath(new URL('durable-work.js', import.meta.url));

/** Who is killed; `power` is the kernel, and the disk loses some of what it was not told to flush. */
export const VICTIMS = ['kernel', 'power', 'client', 'both'] as const;
type Victim = (typeof VICTIMS)[number];

/** What a path has: the content of a number, or nothing (null). Nobody knows what happened to those that are `unknown`. */
type States = Map<string, number | null | 'unknown'>;

/** Programs that must be run before a mount: FAT has no journal. */
const REPAIR: Readonly<Record<string, readonly [string, ...string[]]>> = { vfat: ['fsck.vfat', '-a'] };

export interface Outcome {
  readonly crashes: number;
  /** Files that were durable, and were looked for afterwards. */
  readonly looked: number;
  /** What was not as it must be. */
  readonly problems: readonly string[];
}

/** Crashes one filesystem again and again. @param seed of all choices */
export async function crash(
  kernel: string,
  folder: string,
  type: string,
  victim: Victim,
  rounds: number,
  seed: number,
): Promise<Outcome> {
  const image = emptyDisk(folder, type);
  const next = random(seed);
  const problems: string[] = [];
  let looked = 0;
  for (let round = 1; round <= rounds; round++) {
    const states: States = new Map();
    const one = { kernel, image, seed: Math.floor(next() * 2 ** 31), round, states };
    if (victim === 'kernel' || victim === 'power') await killedAtRequest(one, Math.floor(next() ** 2 * 400), victim);
    else await killedAfter(one, Math.floor(next() * 600), victim);
    for (const found of await lookAfter(one, type)) problems.push(`${type}, ${victim}, round ${round}: ${found}`);
    looked += states.size;
  }
  return { crashes: rounds, looked, problems };
}

interface Round {
  readonly kernel: string;
  readonly image: string;
  readonly seed: number;
  readonly round: number;
  readonly states: States;
}

/** Kills the kernel at its nth request to the disk, counted from the mount on, before or after the disk has done it. */
async function killedAtRequest({ kernel, image, seed, round, states }: Round, nth: number, victim: Victim) {
  const inner = await file(image);
  const device = victim === 'power' ? volatile(inner, seed) : undefined;
  let left = Infinity;
  let killing: Promise<void> | undefined;
  let kill: () => Promise<void> = () => Promise.resolve();
  const counted: BlockBackend = around(device ?? inner, async (_operation, _offset, _length, perform) => {
    if (left-- > 0) return perform();
    const isLate = seed % 2 === 1;
    const result = isLate ? await perform() : undefined;
    await (killing ??= kill());
    return isLate ? (result as Awaited<ReturnType<typeof perform>>) : perform();
  });
  const disk = await open(counted, { kernel });
  kill = async () => {
    disk.kill();
    await device?.cut();
  };
  const mounted = await disk.mount();
  left = nth;
  await work(mounted, seed, round, (path, state) => states.set(path, state)).catch(expectEnd);
  await killing; // the disk loses nothing more, and is closed with its kernel
  await disk.close().catch(() => undefined);
}

function expectEnd(error: unknown): void {
  if ((error as { code?: string }).code !== 'EIO') throw error;
}

/** Kills the client, or it and its kernel, so many milliseconds after it has begun. A kernel without a client ends. */
async function killedAfter({ kernel, image, seed, round, states }: Round, wait: number, victim: Victim): Promise<void> {
  const args = [PROGRAM, kernel, image, String(seed), String(round)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  let pid: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  const kill = (): void => {
    if (victim === 'both' && pid !== undefined) process.kill(pid, 'SIGKILL');
    child.kill('SIGKILL');
  };
  for await (const line of createInterface({ input: child.stdout })) {
    const said = JSON.parse(line) as number | [string, number | null | 'unknown'];
    if (typeof said === 'number') pid = said;
    else states.set(...said);
    timer ??= setTimeout(kill, wait);
  }
  await ended; // its lock is in use until then
  for (let i = 0; existsSync(`/proc/${pid}`) && i < 500; i++) await sleep(20);
  if (existsSync(`/proc/${pid}`)) throw new Error(`the kernel ${pid} lives on without its client`);
}

/** Mounts again, which replays the journal, compares, and lets the filesystem's own program check it. */
async function lookAfter({ kernel, image, round, states }: Round, type: string): Promise<string[]> {
  const [repair, ...args] = REPAIR[type] ?? [];
  if (repair !== undefined) spawnSync(repair, [...args, image]);
  const disk = await open(image, { kernel });
  const problems: string[] = [];
  try {
    const mounted = await disk.mount();
    for (const [path, state] of states) {
      if (state === 'unknown') continue;
      const problem = await differs(mounted, path, state);
      if (problem !== undefined) problems.push(problem);
    }
    await mounted.promises.rm(`/r${round}`, { recursive: true, force: true });
  } finally {
    await disk.close();
  }
  const { status, said } = checked(image, type);
  return status === 0 ? problems : [...problems, `the check says ${status}: ${said.slice(-2000)}`];
}

async function differs(
  { promises }: MountedFilesystem,
  path: string,
  state: number | null,
): Promise<string | undefined> {
  try {
    const found = await promises.readFile(path);
    if (state === null) return `${path} is there again`;
    const wanted = contentOf(state);
    return found.equals(wanted)
      ? undefined
      : `${path} has ${found.length} other bytes, not the ${wanted.length} of ${state}`;
  } catch (error) {
    return state === null && (error as { code: string }).code === 'ENOENT' ? undefined : `${path}: ${String(error)}`;
  }
}
