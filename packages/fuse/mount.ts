/** Mounts block devices as files of a folder, for as long as this process serves them. */
import { readdir, readFile, realpath, stat, writeFile } from 'node:fs/promises';
import { codeOf, messageOf, mountsIn, NodeosError } from '@nodeos/base';
import { buffersOf } from './buffers.js';
import { channel } from './channel.js';
import { attachAsRoot, attachAsUser, type Attachment } from './attach.js';
import { checkNames, filesystem, type DeviceFile } from './files.js';
import { guard } from './guard.js';
import { loadSystem } from './system.js';
import { HEADER } from './wire.js';

export interface MountOptions {
  /** Other users may read too. Default: only this one, and root only if it is this one. */
  readonly allowOther?: boolean;
  /** Bytes that the kernel reads ahead of a sequential reader; only root can have more than 128 KiB. Default 4 MiB. */
  readonly readAhead?: number;
  /** Told of requests that failed because their device did. */
  readonly onError?: (error: unknown) => void;
}

export interface Mounted {
  /** The absolute path. */
  readonly folder: string;
  /** Done when the folder is unmounted, by whomever, and nobody uses a file any more. */
  readonly ended: Promise<void>;
  /**
   * Takes the folder out of the tree. New users do not find it.
   * @returns whether somebody still uses a file; it is served until he is done
   */
  unmount(): Promise<boolean>;
  /** Unmounts at once: whoever uses a file gets errors. */
  abort(): void;
}

/** What `mount` and /proc/self/mountinfo show. */
export const SOURCE = 'nodeos';
/** Bytes of a request: 256 pages, the most that a kernel allows without being told to. */
const REQUEST = 1 << 20;
const BACKGROUND = 32;

/**
 * Mounts files. The devices stay the caller's, who closes them after `ended`.
 * @throws NodeosError if the folder is not there or cannot be mounted on; Error with a code for names that are none
 */
export async function mountFiles(
  files: readonly DeviceFile[],
  folder: string,
  { allowOther = false, readAhead = 4 << 20, onError = () => undefined }: MountOptions = {},
): Promise<Mounted> {
  checkNames(files);
  const system = await loadSystem();
  const path = await checkFolder(folder);
  const isReadOnly = files.every(({ device }) => device.write === undefined);
  const attach = process.geteuid?.() === 0 ? attachAsRoot : attachAsUser;
  const attachment = await attach({ folder: path, source: SOURCE, isReadOnly, allowOther }, system);
  const limits = { request: REQUEST, readAhead, background: BACKGROUND };
  const buffers = buffersOf(REQUEST + HEADER);
  const answerer = filesystem(files, { limits, buffers, forOthers: allowOther });
  const { fd } = attachment;
  const served = channel({ fd, most: REQUEST, answerer, onSent: buffers.give, onError }, system);
  const release = guard(attachment.detachCommand);
  const abort = (): void => {
    served.close();
    tryTo(() => attachment.detach());
  };
  process.on('exit', abort);
  const ended = served.ended
    .catch((error: unknown) => {
      abort();
      throw error;
    })
    .finally(() => {
      process.off('exit', abort);
      release();
    });
  ended.catch(() => undefined); // whoever waits for it sees the error
  await setReadAhead(path, readAhead);
  return { folder: path, ended, abort, unmount: () => unmount(attachment) };
}

async function unmount(attachment: Attachment): Promise<boolean> {
  try {
    await attachment.unmount();
    return false;
  } catch (error) {
    if (codeOf(error) === 'EINVAL') return false; // somebody else has unmounted it
    if (codeOf(error) !== 'EBUSY') throw error;
    attachment.detach();
    return true;
  }
}

/** @returns the absolute path. @throws NodeosError unless it is a folder on which nothing of ours is mounted */
async function checkFolder(folder: string): Promise<string> {
  try {
    const path = await realpath(folder);
    if (!(await stat(path)).isDirectory()) throw new NodeosError(`${folder}: not a folder`);
    const mounts = mountsIn(await readFile('/proc/self/mountinfo', 'utf8'));
    if (!mounts.some(({ place, source }) => place === path && source === SOURCE)) return path;
    await readdir(path); // fails if nobody serves it any more; what `stat` says may be known from before
    throw new NodeosError(`${folder}: images are mounted there already, by a process that serves them`, {
      hint: 'end that process, or take another folder',
    });
  } catch (error) {
    if (error instanceof NodeosError) throw error;
    const hint = HINTS[codeOf(error) ?? '']?.(folder);
    throw new NodeosError(`cannot mount on ${folder}: ${messageOf(error)}`, { cause: error, ...(hint && { hint }) });
  }
}

const HINTS: Readonly<Record<string, (folder: string) => string>> = {
  ENOENT: (folder) => `mkdir ${folder}`,
  ENOTCONN: (folder) => `what served it was killed; umount -l ${folder} (as a user: fusermount3 -uz) takes it away`,
};

/**
 * Raises what the kernel reads ahead, which is 128 KiB for a filesystem of this kind. Best effort. To ask for the
 * folder waits until the kernel has agreed on the protocol, which would set it back.
 */
async function setReadAhead(path: string, bytes: number): Promise<void> {
  await stat(path);
  const mounts = mountsIn(await readFile('/proc/self/mountinfo', 'utf8'));
  const device = mounts.findLast(({ place }) => place === path)?.device;
  await writeFile(`/sys/class/bdi/${device}/read_ahead_kb`, String(bytes >> 10)).catch(() => undefined);
}

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // It is gone already.
  }
}
