/**
 * Temporary folders that do not outlive their process for long. A process that is killed removes nothing, so the names
 * say who made them, and whoever makes the next one of the same kind removes those of processes that are gone:
 *
 *     nodeos-USE-PID-START-SYSTEM-RANDOM      in the folder for temporary files
 *     .FILE.PID-START-SYSTEM-RANDOM           beside a file that is being replaced (replace-file.ts)
 *
 * A process is its number and its start, because numbers are used again. SYSTEM stands for one boot of one machine and
 * its process numbers: a container, or another machine with the same folder, cannot tell who is alive here.
 * https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
 */
import { lstat, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOf } from './errors.js';
import { sha256 } from './sha256.js';

const OWNED = /^(?<prefix>.*[-.])(?<pid>\d+)-(?<start>\d+)-(?<system>[0-9a-f]{8})-\w{6}$/s;
const TEMPORARY = /^nodeos-[a-z]+-$/;
/** Fields of /proc/PID/stat behind the name, which may itself have spaces and brackets. */
const [STATE, START] = [0, 19];

/** Short, because paths of Unix sockets are limited to about 100 bytes. */
const shortest = (): string => (existsSync('/tmp') ? '/tmp' : tmpdir());

export interface TemporaryFolderOptions {
  /** The folder has the shortest path that is possible, for sockets. Default: it is in `parent`. */
  readonly isShort?: boolean;
  /** Default: where TMPDIR says. */
  readonly parent?: string;
}

/**
 * Makes a folder that only this user can enter, and removes those that killed processes have left beside it.
 * @param use a word of lower-case letters, which becomes part of the name
 */
export const temporaryFolder = (
  use: string,
  { isShort = false, parent = tmpdir() }: TemporaryFolderOptions = {},
): Promise<string> => ownedFolder(isShort ? shortest() : parent, `nodeos-${use}-`, (prefix) => TEMPORARY.test(prefix));

/**
 * Makes a folder whose name begins with the prefix, which ends with `-` or `.`.
 * @param isSameKind whether the leftovers with a prefix are removed. Default: those with this one
 */
export async function ownedFolder(
  parent: string,
  prefix: string,
  isSameKind = (other: string): boolean => other === prefix,
): Promise<string> {
  // Tidying up must not keep anything from starting.
  await removeLeftovers(parent, isSameKind).catch(() => undefined);
  const [owner, system] = [await ownerOf(process.pid), await systemId()];
  return mkdtemp(join(parent, prefix + (owner && system ? `${process.pid}-${owner.start}-${system}-` : '')));
}

/**
 * Removes folders of processes that are gone. Only what belongs to this user, and no links.
 * @param isWanted tells by the start of the name whether a folder is of the kind to remove
 * @returns the paths of what was removed
 */
export async function removeLeftovers(parent: string, isWanted: (prefix: string) => boolean): Promise<string[]> {
  const system = await systemId();
  const removed: string[] = [];
  for (const name of system === undefined ? [] : await readdir(parent)) {
    const { prefix = '', pid, start, system: owners } = OWNED.exec(name)?.groups ?? {};
    if (owners !== system || !isWanted(prefix) || (await isAlive(Number(pid), Number(start)))) continue;
    const path = join(parent, name);
    if (!(await isOwnFolder(path))) continue;
    await rm(path, { recursive: true, force: true });
    removed.push(path);
  }
  return removed;
}

async function isOwnFolder(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  return found?.isDirectory() === true && found.uid === process.getuid?.();
}

/** Whoever cannot be looked at is alive. */
async function isAlive(pid: number, start: number): Promise<boolean> {
  const owner = await ownerOf(pid);
  if (owner) return owner.start === start && !owner.isDead;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

/** When a process started, in ticks since boot; undefined if that cannot be known. */
async function ownerOf(pid: number): Promise<{ readonly start: number; readonly isDead: boolean } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const start = Number(fields[START] ?? NaN);
  // A zombie has ended, and only waits for its parent to hear of it.
  return Number.isInteger(start) ? { start, isDead: /^[ZX]/.test(fields[STATE] ?? '') } : undefined;
}

/** Undefined where there is no /proc. */
async function systemId(): Promise<string | undefined> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'latin1');
    return sha256(`${boot}${await readlink('/proc/self/ns/pid')}`).slice(0, 8);
  } catch {
    return undefined;
  }
}
