/** Logs a program's output to a file. The file has a maximum size, and the program waits for a slow disk. */
import { createWriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';

/** Maximum size in bytes. For comparison, GCC's build writes 5 MB. */
const MAX_BYTES = 64 << 20;

/** @param maxBytes number of bytes kept (default: 64 MiB); a final line says that the rest is missing */
export class ToolLog {
  readonly #file;
  readonly #waiting = new Set<Readable>();
  #remaining: number;

  constructor(path: string, maxBytes = MAX_BYTES) {
    this.#remaining = maxBytes;
    this.#file = createWriteStream(path, { flags: 'a' });
    const resumeSources = (): void => {
      for (const source of this.#waiting) source.resume();
      this.#waiting.clear();
    };
    this.#file.on('drain', resumeSources);
    this.#file.on('error', resumeSources); // the program that filled the disk reports the error
  }

  /** Appends a chunk. Pauses `source` while the disk cannot keep up. */
  write(chunk: Buffer | string, source?: Readable): void {
    if (this.#file.errored || this.#remaining <= 0) return;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    const isTruncated = bytes.length >= this.#remaining;
    const text = isTruncated ? [bytes.subarray(0, this.#remaining), '\n(no more is kept of this output)\n'] : [bytes];
    this.#remaining -= bytes.length;
    const isFull = text.map((part) => this.#file.write(part)).includes(false);
    if (!isFull || source === undefined) return;
    this.#waiting.add(source);
    source.pause();
  }

  /** Resolves when everything is in the file, or when the file has failed. */
  async close(): Promise<void> {
    if (this.#file.errored) return;
    this.#file.end();
    await finished(this.#file).catch(() => undefined);
  }
}
