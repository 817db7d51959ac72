/**
 * Reads a device past the cache, so that what comes back is what the device has, not what was written to it.
 * O_DIRECT wants memory that begins at a page: open(2), https://man7.org/linux/man-pages/man2/open.2.html
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { codeOf } from '@nodeos/base';

/** Only browsers' types have it. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number; readonly maximum: number }) => {
    readonly buffer: ArrayBuffer;
  };
};

/** Unit of places and lengths in bytes; the last read may end with the device. */
const UNIT = 4096;
const PAGE = 64 << 10;

export interface DirectReader {
  /** Whether the cache is really avoided; some filesystems cannot. */
  readonly isDirect: boolean;
  /** Reads into memory that the next read uses again. @throws Error with the code EIO if the device ends before */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** @param largest bytes of one read */
export async function directReader(path: string, size: number, largest: number): Promise<DirectReader> {
  const { handle, isDirect } = await openDirect(path);
  // The memory of WebAssembly starts at a page; that of a Buffer does not.
  const pages = Math.ceil((largest + 2 * UNIT) / PAGE);
  const memory = Buffer.from(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer);
  return {
    isDirect,
    async read(offset, length) {
      const start = Math.floor(offset / UNIT) * UNIT;
      const end = Math.min(size, Math.ceil((offset + length) / UNIT) * UNIT);
      for (let at = start; at < end;) {
        const { bytesRead } = await handle.read(memory, at - start, end - at, at);
        if (bytesRead === 0) throw Object.assign(new Error(`EIO: the device ends at byte ${at}`), { code: 'EIO' });
        at += bytesRead;
      }
      return memory.subarray(offset - start, offset - start + length);
    },
    close: () => handle.close(),
  };
}

async function openDirect(path: string): Promise<{ handle: FileHandle; isDirect: boolean }> {
  try {
    return { handle: await open(path, constants.O_RDONLY | constants.O_DIRECT), isDirect: true };
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error;
    return { handle: await open(path, constants.O_RDONLY), isDirect: false };
  }
}
