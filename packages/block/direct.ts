/**
 * Files past the page cache. The kernel then wants whole blocks, and memory that begins at a page: O_DIRECT of open(2),
 * https://man7.org/linux/man-pages/man2/open.2.html
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { codeOf } from '@nodeos/base';
import { delegate } from './around.js';
import type { BlockBackend } from './backend.js';

/** Only browsers' types have it. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number; readonly maximum: number }) => {
    readonly buffer: ArrayBuffer;
  };
};

/** The page of WebAssembly in bytes. */
const PAGE = 64 << 10;

/** Memory that begins at a page: that of WebAssembly does, that of a Buffer does not. @param length bytes */
export function pageAligned(length: number): Buffer {
  const pages = Math.ceil(length / PAGE);
  return Buffer.from(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer, 0, length);
}

/** @returns undefined for a file whose filesystem cannot avoid the cache. @throws the other errors of `open` */
export async function openDirect(path: string, flags: number): Promise<FileHandle | undefined> {
  try {
    return await open(path, flags | constants.O_DIRECT);
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error;
    return undefined;
  }
}

/**
 * A file that is open as `inner`, with writes that go past the cache. Writes that are no whole blocks, or not from
 * `pageAligned` memory, go through it, and so do all others if the filesystem cannot avoid it.
 * @throws the errors of opening the file once more; `inner` is closed then
 */
export async function writesDirectly(inner: BlockBackend, path: string): Promise<BlockBackend> {
  if (process.platform !== 'linux') return inner;
  const direct = await openDirect(path, constants.O_WRONLY).catch(async (error: unknown) => {
    await inner.close();
    throw error;
  });
  if (direct === undefined) return inner;

  const write = async (bytes: Uint8Array, offset: number): Promise<void> => {
    let done = 0;
    try {
      while (done < bytes.length)
        done += (await direct.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
    } catch (error) {
      if (codeOf(error) !== 'EINVAL') throw error;
      await inner.write?.(bytes.subarray(done), offset + done);
    }
  };

  return {
    ...delegate(inner),
    get size() {
      return inner.size;
    },
    write,
    close: async () => {
      await direct.close().finally(() => inner.close());
    },
  };
}
