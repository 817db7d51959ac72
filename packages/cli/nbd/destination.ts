/** Where a copy goes: a new file that has its name only when it is whole, or a device that is there already. */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { file, syncDirectory, type BlockBackend } from '@nodeos/block';
import { codeOf, messageOf, NodeosError } from '@nodeos/build';
import { claim } from './in-use.js';
import { hintFor, localPath, openSource, type OpenOptions } from './sources.js';

export interface Destination {
  readonly backend: BlockBackend;
  /** It is new: all of it is a hole. */
  readonly isZero: boolean;
  /** On a disk of this machine: what is not flushed may be lost when it is unplugged. */
  readonly isLocal: boolean;
  /** All is copied: it gets its name. */
  finish(): Promise<void>;
  /** To be called at the end in any case. What is not finished is removed, if it is new. */
  close(): Promise<void>;
}

/** @param size of a new file, in bytes */
export async function openDestination(text: string, size: number, options: OpenOptions): Promise<Destination> {
  const path = localPath(text);
  if (path === undefined) return existing(await openSource(text, { ...options, write: true }));
  const target = await realpath(path).catch(() => path);
  const kind = await stat(target).catch(() => undefined);
  if (kind?.isBlockDevice()) return device(target, options);
  if (kind && !kind.isFile()) throw new NodeosError(`cannot copy to ${path}: it is neither a file nor a block device`);
  return newFile(target, size);
}

const existing = (backend: BlockBackend): Destination => ({
  backend,
  isZero: false,
  isLocal: false,
  finish: () => Promise.resolve(),
  close: async () => backend.close(),
});

async function device(path: string, options: OpenOptions): Promise<Destination> {
  const release = await claim(path);
  try {
    const opened = existing(await openSource(path, { ...options, write: true }));
    return { ...opened, isLocal: true, close: () => opened.close().finally(release) };
  } catch (error) {
    await release();
    throw error;
  }
}

async function newFile(path: string, size: number): Promise<Destination> {
  const partial = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.partial`);
  const backend = await file(partial, { create: size }).catch(async (error: unknown) => {
    if (codeOf(error) !== 'ENOENT') await rm(partial, { force: true });
    throw new NodeosError(`cannot create ${path}: ${messageOf(error)}`, { ...hintFor(error, path), cause: error });
  });
  let isNamed = false;
  return {
    backend,
    isZero: true,
    isLocal: true,
    async finish() {
      await rename(partial, path);
      isNamed = true;
      await syncDirectory(dirname(path));
    },
    async close() {
      // First and at once, so that nothing is left if it cannot be closed, or nobody waits for that.
      if (!isNamed) rmSync(partial, { force: true });
      await backend.close();
    },
  };
}
