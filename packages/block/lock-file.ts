/**
 * A lock between the processes of a machine: a file that names its owner. Locks that are kept fresh by touching a file
 * have two drawbacks that this one avoids: it is free at once if its owner was killed, and an owner that was stopped
 * for a while keeps it.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure } from './backend.js';

interface Owner {
  readonly pid: number;
  /** When the process started, in clock ticks since boot: another process may get the same number later. */
  readonly started: string;
  readonly host: string;
  /** The boot and the process namespace that the process number belongs to. */
  readonly boot: string;
  readonly namespace: string;
}

const TRIES = 100;
/** Milliseconds between two tries while another process takes over the lock of a dead owner. */
const PAUSE = 10;

/**
 * Takes the lock, even from an owner that is dead.
 * @returns a function that releases the lock
 * @throws Error with the code EBUSY if another process has the lock, or if this process cannot see whether the owner
 * lives
 */
export async function lockFile(path: string): Promise<() => Promise<void>> {
  const ownPath = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(ownPath, JSON.stringify(thisProcess()), { flag: 'wx' });
  try {
    for (let tries = 0; tries < TRIES; tries++) {
      // `link` makes the complete file appear at once, and fails if the name exists.
      if (await link(ownPath, path).then(() => true, ignoring('EEXIST', false))) return () => unlink(path);
      const content = await readFile(path, 'utf8').catch(ignoring('ENOENT', undefined));
      if (content === undefined) continue;
      const reason = describeHolder(content);
      if (reason !== undefined) throw failure('EBUSY', `${path}: ${reason}`);
      if (await replaceStale(path, content, ownPath)) return () => unlink(path);
      await sleep(PAUSE);
    }
    throw failure('EBUSY', `${path}: others take it all the time, or have left ${path}.* behind`);
  } finally {
    await unlink(ownPath).catch(ignoring('ENOENT', undefined));
  }
}

/**
 * Replaces a dead owner's lock with `ownPath`. Of several processes that find the owner dead, only one may do so: the one
 * that takes a second lock, named after the content to be replaced. Nobody else replaces that content, so it cannot
 * change between the check and the rename.
 * @returns false if another process was faster
 */
async function replaceStale(path: string, staleContent: string, ownPath: string): Promise<boolean> {
  const name = createHash('sha256').update(staleContent).digest('hex').slice(0, 12);
  const unlock = await lockFile(`${path}.${name}`).catch(ignoring('EBUSY', undefined));
  if (!unlock) return false;
  try {
    if (
      (await readFile(path, 'utf8').catch(ignoring('ENOENT', undefined))) !== staleContent ||
      describeHolder(staleContent)
    )
      return false;
    await rename(ownPath, path);
    return true;
  } finally {
    await unlock();
  }
}

/**
 * Why the lock is in use; undefined if its owner is dead. An owner counts as alive if its state cannot be determined.
 */
function describeHolder(content: string): string | undefined {
  const owner = parsed(content);
  const current = thisProcess();
  if (owner === undefined) return 'is no lock of this program; remove it if it is not wanted';
  const differs = (name: 'boot' | 'namespace'): boolean => owner[name] !== current[name] && current[name] !== '';
  if (owner.host === current.host && differs('boot') && owner.boot !== '') return undefined;
  if (owner.host !== current.host || differs('namespace'))
    return `process ${owner.pid} of ${owner.host} has it, which cannot be seen from here; remove it if that is dead`;
  return isAlive(owner) ? `process ${owner.pid} has it` : undefined;
}

function isAlive({ pid, started }: Owner): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ESRCH') return false;
  }
  const { hasEnded, start } = stateOf(pid);
  return !hasEnded && (start === '' || started === '' || start === started);
}

function parsed(content: string): Owner | undefined {
  try {
    const owner = JSON.parse(content) as Partial<Owner> | null;
    return typeof owner?.pid === 'number' && typeof owner.host === 'string' ? (owner as Owner) : undefined;
  } catch {
    return undefined;
  }
}

const thisProcess = (): Owner => ({
  pid: process.pid,
  started: stateOf(process.pid).start,
  host: hostname(),
  boot: readOrEmpty(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
  namespace: readOrEmpty(() => readlinkSync('/proc/self/ns/pid')),
});

/**
 * What /proc/PID/stat says, behind a name that may contain anything: the state, the number of threads and the start. A
 * process whose parent has not asked how it ended has the state `Z`; as long as others of its threads end, they may still
 * write. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
 */
function stateOf(pid: number): { readonly hasEnded: boolean; readonly start: string } {
  const stat = readOrEmpty(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { hasEnded: fields[0] === 'Z' && Number(fields[17]) <= 1, start: fields[19] ?? '' };
}

function readOrEmpty(work: () => string): string {
  try {
    return work();
  } catch {
    return '';
  }
}

const ignoring =
  <T>(code: string, fallback: T) =>
  (error: unknown): T => {
    if ((error as { code?: unknown }).code === code) return fallback;
    throw error;
  };
