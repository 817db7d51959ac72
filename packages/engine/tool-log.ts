/** The log of a program's output: a file that does not grow without end, and that the program waits for. */
import { createWriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';

/** Bytes. GCC's build writes 5 MB. */
const MOST = 64 << 20;

/** @param most bytes that are kept; of what comes after them, one line says that it is missing */
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
    this.#file.on('error', goOn); // a full disk is reported by the program that filled it
  }

  /** Appends what the source has given. The source is paused while the disk cannot follow. */
  write(chunk: Buffer | string, source?: Readable): void {
    if (this.#file.errored || this.#left <= 0) return;
    const bytes = Buffer.from(chunk);
    const ends = bytes.length >= this.#left;
    const text = ends ? [bytes.subarray(0, this.#left), '\n(no more is kept of this output)\n'] : [bytes];
    this.#left -= bytes.length;
    const isFull = text.map((part) => this.#file.write(part)).includes(false);
    if (!isFull || source === undefined) return;
    this.#waiting.add(source);
    source.pause();
  }

  /** Resolves when everything is in the file, or cannot be. */
  async close(): Promise<void> {
    if (this.#file.errored) return;
    this.#file.end();
    await finished(this.#file).catch(() => undefined);
  }
}
