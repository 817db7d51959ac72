/**
 * Estimates how much memory the contents of an initramfs take. It reads cpio archives in the "newc" format and archives
 * compressed with LZ4, as this layer makes them.
 * https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md#legacy-frame
 */
import { open, type FileHandle } from 'node:fs/promises';

const HEADER = 110;
const PAGE = 4096;
/** Kernel memory in bytes for the inode and the name of each file or folder. */
const INODE = 1024;
const LZ4_LEGACY = 0x184c2102;
/** Unpacked size of a block in bytes; the last block may be smaller. */
const LZ4_BLOCK = 8 << 20;
const LARGEST_NAME = 4096;

/** @returns the size in bytes. @throws Error if the file contains anything but cpio and LZ4 archives */
export async function unpackedSize(path: string): Promise<number> {
  const file = await open(path);
  try {
    return await sizeOf(new Window(file, (await file.stat()).size), path);
  } finally {
    await file.close();
  }
}

async function sizeOf(bytes: Window, path: string): Promise<number> {
  let total = 0;
  let at = 0;
  const unknown = (): Error => new Error(`${path}: what is at byte ${at} is not known`);
  while (at < bytes.size) {
    const start = await bytes.read(at, HEADER);
    if (start.toString('latin1', 0, 6) === '070701' && start.length === HEADER) {
      const [size, nameSize] = [field(start, 6), field(start, 11)];
      if (!(size >= 0 && nameSize <= LARGEST_NAME)) throw unknown();
      const name = (await bytes.read(at + HEADER, nameSize)).toString('latin1');
      if (name !== 'TRAILER!!!\0') total += INODE + Math.ceil(size / PAGE) * PAGE;
      at = aligned(aligned(at + HEADER + nameSize) + size);
    } else if (start.length >= 4 && start.readUInt32LE(0) === LZ4_LEGACY) {
      // The format has no end mark. Blocks follow until the end of the file, each after its length.
      for (at += 4; at < bytes.size; total += LZ4_BLOCK) {
        const length = await bytes.read(at, 4);
        if (length.length < 4) throw unknown();
        at += 4 + length.readUInt32LE(0);
      }
    } else if (start[0] === 0) at = aligned(at + 1);
    else throw unknown();
  }
  return total;
}

/** Field N of a cpio header: eight hexadecimal digits. */
const field = (header: Buffer, index: number): number =>
  Number.parseInt(header.toString('latin1', 6 + 8 * index, 14 + 8 * index), 16);

const aligned = (at: number): number => Math.ceil(at / 4) * 4;

/** Reads small, mostly neighbouring pieces of a file through a buffer. */
class Window {
  readonly #buffer = Buffer.alloc(64 << 10);
  #start = 0;
  #length = 0;

  constructor(
    private readonly file: FileHandle,
    readonly size: number,
  ) {}

  /** @returns the bytes at a position; fewer than `length` at the end of the file */
  async read(position: number, length: number): Promise<Buffer> {
    if (position < this.#start || position + length > this.#start + this.#length) {
      this.#start = position;
      this.#length = (await this.file.read(this.#buffer, 0, this.#buffer.length, position)).bytesRead;
    }
    const from = position - this.#start;
    return this.#buffer.subarray(from, Math.min(from + length, this.#length));
  }
}
