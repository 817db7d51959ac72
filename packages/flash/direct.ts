/** Reads a device past the cache, so that what comes back is what the device has, not what was written to it. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { openDirect, pageAligned } from '@nodeos/block';

/** Unit of places and lengths in bytes; the last read may end with the device. */
const UNIT = 4096;

export interface DirectReader {
  /** Whether the cache is really avoided; some filesystems cannot. */
  readonly isDirect: boolean;
  /** Reads into memory that the next read uses again. @throws Error with the code EIO if the device ends before */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** @param largest bytes of one read */
export async function directReader(path: string, size: number, largest: number): Promise<DirectReader> {
  const direct = await openDirect(path, constants.O_RDONLY);
  const handle = direct ?? (await open(path));
  const memory = pageAligned(largest + 2 * UNIT);
  return {
    isDirect: direct !== undefined,
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
