/** Logs a program's output to a file. The file has a maximum size, and the program waits for a slow disk. */
import { createWriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';

/** Maximum size in bytes. For comparison, GCC's build writes 5 MB. */
const MOST = 64 << 20;

/** @param most number of bytes kept (default: 64 MiB); a final line says that the rest is missing */
export class ToolLog {
  readonly #file;
  readonly #waiting = new Set<Readable>();
  #left: number;

  constructor(path: string, most = MOST) {
    this.#left = most;
    this.#file = createWriteStream(path, { flags: 'a' });
    const goOn = (): void => {
      for (const source of this.#waiting) source.resume();
      this.#waiting.clear();
    };
    this.#file.on('drain', goOn);
    this.#file.on('error', goOn); // the program that filled the disk reports the error
  }

  /** Appends a chunk. Pauses `source` while the disk cannot keep up. */
  write(chunk: Buffer | string, source?: Readable): void {
    if (this.#file.errored || this.#left <= 0) return;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    const ends = bytes.length >= this.#left;
    const text = ends ? [bytes.subarray(0, this.#left), '\n(no more is kept of this output)\n'] : [bytes];
    this.#left -= bytes.length;
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
