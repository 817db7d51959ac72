/** Output that comes in chunks, as lines. */
import { StringDecoder } from 'node:string_decoder';

const MAX_LINE = 4096;

/** Cuts chunks into lines, tells a listener, and keeps the last few. Of a longer line, its last 4096 characters. */
export class LineTail {
  readonly lines: string[] = [];
  readonly #decoder = new StringDecoder('utf8'); // a chunk may end within a character
  #rest = '';

  constructor(
    private readonly limit: number,
    private readonly listener?: (line: string) => void,
  ) {}

  push(chunk: Buffer | string): void {
    const text = typeof chunk === 'string' ? chunk : this.#decoder.write(chunk);
    const parts = (this.#rest + text).split(/\r?\n|\r/);
    // A program that never ends its line must not fill the memory.
    this.#rest = (parts.pop() ?? '').slice(-MAX_LINE);
    for (const line of parts) this.#add(line);
  }

  end(): void {
    this.push(this.#decoder.end());
    this.#add(this.#rest);
    this.#rest = '';
  }

  #add(whole: string): void {
    const line = whole.slice(-MAX_LINE);
    if (line.trim() === '') return;
    this.lines.push(line);
    if (this.lines.length > this.limit) this.lines.shift();
    this.listener?.(line);
  }
}
