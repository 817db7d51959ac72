/** Splits chunked output into lines. */
import { StringDecoder } from 'node:string_decoder';

const MAX_LINE = 4096;

/**
 * Splits chunks into lines, calls a listener for each, and keeps the last `limit` lines. A line longer than 4096
 * characters is cut to its last 4096.
 */
export class LineTail {
  readonly lines: string[] = [];
  readonly #decoder = new StringDecoder('utf8'); // a chunk may end in the middle of a character
  #unfinished = '';

  constructor(
    private readonly limit: number,
    private readonly listener?: (line: string) => void,
  ) {}

  push(chunk: Buffer | string): void {
    const text = typeof chunk === 'string' ? chunk : this.#decoder.write(chunk);
    const parts = (this.#unfinished + text).split(/\r?\n|\r/);
    // A program that never ends its line must not use up the memory.
    this.#unfinished = (parts.pop() ?? '').slice(-MAX_LINE);
    for (const line of parts) this.#add(line);
  }

  end(): void {
    this.push(this.#decoder.end());
    this.#add(this.#unfinished);
    this.#unfinished = '';
  }

  #add(text: string): void {
    const line = text.slice(-MAX_LINE);
    if (line.trim() === '') return;
    this.lines.push(line);
    if (this.lines.length > this.limit) this.lines.shift();
    this.listener?.(line);
  }
}
