/** Who reads and writes what, and when: one record a request. */
import type { Writable } from 'node:stream';
import { around, type Operation } from './around.js';
import type { BlockBackend } from './backend.js';
import { observed } from './maybe.js';

export interface TraceRecord {
  /** When it began: milliseconds since the wrapper was made. */
  readonly t: number;
  readonly op: Operation;
  /** Bytes. */
  readonly offset: number;
  /** Bytes; of `resize`, the new size. */
  readonly length: number;
  /** Milliseconds. */
  readonly took: number;
  /** The code or the message of its failure. */
  readonly error?: string;
  /** Of what is read. */
  readonly export?: string;
  /** Who reads. */
  readonly client?: string;
}

export interface TraceOptions {
  /** Put into every record. */
  readonly export?: string | undefined;
  readonly client?: string | undefined;
  /** What counts as 0, by `now`. Default: when the wrapper is made. */
  readonly since?: number;
  /** Bytes that wait in a stream at most: further records are left out, and counted in a line `{"dropped": n}`. Default 1 MiB. */
  readonly buffered?: number;
  /** Milliseconds; only differences count. */
  readonly now?: () => number;
}

const BUFFERED = 1 << 20;

/** `inner`, with a record of each request when it is done, given to a function or written to a stream as a line of JSON. */
export function trace(
  inner: BlockBackend,
  to: Writable | ((record: TraceRecord) => void),
  { client, export: name, since, buffered = BUFFERED, now = () => performance.now() }: TraceOptions = {},
): BlockBackend {
  const { record, end } = typeof to === 'function' ? { record: to, end: () => undefined } : lines(to, buffered);
  const start = since ?? now();
  const device = around(inner, (op, offset, length, work) => {
    const begun = now();
    return observed(work, (error) => {
      record({
        t: rounded(begun - start),
        op,
        offset,
        length,
        took: rounded(now() - begun),
        ...(error !== undefined && { error: nameOf(error) }),
        ...(name !== undefined && { export: name }),
        ...(client !== undefined && { client }),
      });
    });
  });
  return Object.assign(device, { close: () => observed(() => inner.close(), end) }); // keeps the getter of `size`
}

/** To microseconds. */
const rounded = (milliseconds: number): number => Math.round(milliseconds * 1000) / 1000;

function nameOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return typeof code === 'string' ? code : String(message ?? error);
}

interface Lines {
  readonly record: (record: TraceRecord) => void;
  /** What was left out after the last record is counted too. */
  readonly end: () => void;
}

function lines(stream: Writable, buffered: number): Lines {
  let dropped = 0;
  const write = (line: object): void => void stream.write(`${JSON.stringify(line)}\n`);
  const countDropped = (): void => {
    if (dropped > 0 && stream.writable) write({ dropped });
    dropped = 0;
  };
  return {
    record: (record) => {
      if (stream.writableLength >= buffered) {
        dropped++;
        return;
      }
      countDropped();
      write(record);
    },
    end: countDropped,
  };
}
