/** Mounts /dev/fuse on a folder: root by mount(2), others by the program that may do it for them. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { codeOf, collected, messageOf, NodeosError } from '@nodeos/base';
import { failure } from '@nodeos/block';
import { FLAGS, type System } from './system.js';

export interface Attached {
  /** An absolute path. */
  readonly folder: string;
  /** What tables of mounts show. */
  readonly source: string;
  readonly isReadOnly: boolean;
  readonly allowOther: boolean;
}

/** A mounted folder, and where its requests come from. */
export interface Attachment {
  /** Does not block. */
  readonly fd: number;
  /** @throws Error with a code: EBUSY while somebody uses it, EINVAL if it is not mounted any more */
  unmount(): Promise<void>;
  /** Takes it out of the tree at once; who uses it still has it. Synchronous. @throws Error with a code */
  detach(): void;
  /** What another process can do to the same end. */
  readonly detachCommand: readonly string[];
}

/** @throws NodeosError if there is no FUSE, or this process may not mount */
export function attachAsRoot(
  { folder, source, isReadOnly, allowOther }: Attached,
  system: System,
): Promise<Attachment> {
  const fd = openDevice();
  const { noSuid, noDevices, noAccessTimes, readOnly } = FLAGS;
  const options = [
    ...[`fd=${fd}`, 'rootmode=40000', `user_id=${process.geteuid?.() ?? 0}`, `group_id=${process.getegid?.() ?? 0}`],
    ...['default_permissions', ...(allowOther ? ['allow_other'] : [])],
  ];
  try {
    const flags = noSuid | noDevices | noAccessTimes | (isReadOnly ? readOnly : 0);
    system.mount({ source, folder, type: 'fuse.nodeos', flags, data: options.join(',') });
  } catch (error) {
    closeSync(fd);
    throw new NodeosError(`cannot mount on ${folder}: ${messageOf(error)}`, {
      cause: error,
      ...(codeOf(error) === 'EPERM' && { hint: 'this needs CAP_SYS_ADMIN, which root of a container may lack' }),
    });
  }
  return Promise.resolve({
    fd,
    unmount: () => system.unmount(folder),
    detach: () => system.detach(folder),
    detachCommand: ['umount', '-l', folder],
  });
}

function openDevice(): number {
  try {
    return openSync('/dev/fuse', constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    const hint = { ENOENT: 'modprobe fuse', ENODEV: 'modprobe fuse', EPERM: 'the container needs --device /dev/fuse' }[
      codeOf(error) ?? ''
    ];
    throw new NodeosError(`cannot open /dev/fuse: ${messageOf(error)}`, { cause: error, ...(hint && { hint }) });
  }
}

const HELPER = 'fusermount3';

/**
 * `fusermount3` has the rights to mount, and hands the descriptor over a socket. The mount is gone when it is closed.
 * https://github.com/libfuse/libfuse/blob/fuse-3.16.2/util/fusermount.c
 * @throws NodeosError if it is not there, or refuses
 */
export async function attachAsUser(
  { folder, source, isReadOnly, allowOther }: Attached,
  system: System,
): Promise<Attachment> {
  const options = [
    ...['default_permissions', 'nosuid', 'nodev', 'noatime', `fsname=${source}`, 'subtype=nodeos'],
    ...[isReadOnly ? 'ro' : 'rw', ...(allowOther ? ['allow_other'] : [])],
  ];
  const [ours, theirs] = system.socketPair();
  const child = spawn(HELPER, ['-o', options.join(','), '--', folder], {
    env: { ...process.env, _FUSE_COMMFD: '3' },
    stdio: ['ignore', 'ignore', 'pipe', theirs],
  });
  const messages = collected(child.stderr as Readable, 1 << 20, () => new Error('too much'));
  try {
    await once(child, 'spawn').finally(() => closeSync(theirs));
    const ended = once(child, 'close');
    const fd = await system.receiveDescriptor(ours);
    await ended;
    if (fd === undefined) throw new Error((await messages).toString().trim());
    return { fd, ...withHelper(folder) };
  } catch (error) {
    const isMissing = codeOf(error) === 'ENOENT';
    throw new NodeosError(`cannot mount on ${folder}: ${isMissing ? 'only root may' : messageOf(error)}`, {
      cause: error,
      ...(isMissing && { hint: `${HELPER} does it for others: apt-get install fuse3` }),
    });
  } finally {
    closeSync(ours);
  }
}

function withHelper(folder: string): Omit<Attachment, 'fd'> {
  const argumentsOf = (...options: readonly string[]): string[] => ['-u', ...options, '--', folder];
  return {
    unmount: async () => {
      await promisify(execFile)(HELPER, argumentsOf()).catch((error: unknown) => {
        throw failure(/busy/i.test(messageOf(error)) ? 'EBUSY' : 'EINVAL', messageOf(error), error);
      });
    },
    detach: () => void execFileSync(HELPER, argumentsOf('-z'), { stdio: 'pipe' }),
    detachCommand: [HELPER, ...argumentsOf('-z')],
  };
}
