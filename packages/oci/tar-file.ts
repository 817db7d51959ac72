/** A tar archive whose files are read where they are: a layer in the cache, or an archive of images. */
import { createReadStream } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { codeOf, messageOf, NodeosError } from '@nodeos/base';
import { readTar, type Entry, type TarPart, type TarRecord } from '@nodeos/tree';
import type { MergeLayer } from './merge.js';

const PIECE = 1 << 20;
const ZEROS = Buffer.alloc(64 << 10);

export class TarFile implements MergeLayer<TarRecord> {
  #handle: Promise<FileHandle> | undefined;

  private constructor(
    readonly path: string,
    /** For messages. */
    readonly subject: string,
    private readonly size: number,
    private readonly mtime: number,
    handle: FileHandle,
  ) {
    this.#handle = Promise.resolve(handle);
  }

  /** @param subject what the archive is called in messages */
  static async open(path: string, subject: string): Promise<TarFile> {
    const handle = await open(path);
    const { size, mtimeMs } = await handle.stat();
    return new TarFile(path, subject, size, mtimeMs, handle);
  }

  /** @throws NodeosError if it is no tar archive, or is damaged */
  async *records(signal: AbortSignal): AsyncGenerator<TarRecord> {
    try {
      yield* readTar(createReadStream(this.path, { highWaterMark: PIECE, signal }), { unsafe: 'within' });
    } catch (error) {
      if (codeOf(error) !== 'EINVAL') throw error;
      throw new NodeosError(`${this.subject}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Where the content of a member is. Only if it is in one piece is it a part of the file. */
  contentOf({ size, parts }: Pick<TarRecord, 'size' | 'parts'>): Pick<Entry, 'host' | 'open'> {
    const open = (offset = 0): AsyncIterable<Uint8Array> => this.content(parts, size, offset);
    const [first, ...more] = parts;
    if (!first || more.length > 0 || first.offset !== 0 || first.length !== size) return { open };
    return { open, host: { file: this.path, offset: first.at, size: this.size, mtime: this.mtime } };
  }

  /** The content of a member from a byte on. */
  async *content(parts: readonly TarPart[], size: number, from: number): AsyncGenerator<Uint8Array> {
    let done = from;
    for (const { offset, length, at } of [...parts, { offset: size, length: 0, at: 0 }]) {
      for (; done < offset; done = Math.min(offset, done + ZEROS.length)) yield ZEROS.subarray(0, offset - done);
      while (done < offset + length) {
        const bytes = await this.#read(at + done - offset, Math.min(PIECE, offset + length - done));
        done += bytes.length;
        yield bytes;
      }
    }
  }

  async #read(position: number, length: number): Promise<Buffer> {
    if (!this.#handle) throw new Error(`${this.subject} is closed`);
    const { buffer, bytesRead } = await (await this.#handle).read(Buffer.allocUnsafe(length), 0, length, position);
    if (bytesRead === 0) throw new NodeosError(`${this.path} is shorter than it was`);
    return buffer.subarray(0, bytesRead);
  }

  async close(): Promise<void> {
    const handle = await this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }
}
