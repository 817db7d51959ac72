/** Records who reads and writes what, and when: one record per request. */
import type { Writable } from 'node:stream';
import { around, type Operation } from './around.js';
import type { BlockBackend } from './backend.js';
import { whenSettled } from './maybe.js';

export interface TraceRecord {
  /** Start of the request, in milliseconds since the wrapper was made or since `since`. */
  readonly t: number;
  readonly op: Operation;
  /** Bytes. */
  readonly offset: number;
  /** Bytes; for `resize`, the new size. */
  readonly length: number;
  /** Duration in milliseconds. */
  readonly took: number;
  /** The code of the error, or its message. */
  readonly error?: string;
  /** The name of the export. */
  readonly export?: string;
  /** The client that made the request. */
  readonly client?: string;
}

export interface TraceOptions {
  /** Added to every record. */
  readonly export?: string | undefined;
  readonly client?: string | undefined;
  /** The time that counts as 0, as `now` returns it. Default: when the wrapper is made. */
  readonly since?: number;
  /**
   * Bytes that may wait in a stream. Beyond that, records are dropped and counted in a line `{"dropped": n}`. Default 1
   * MiB.
   */
  readonly buffered?: number;
  /** Milliseconds; only differences count. */
  readonly now?: () => number;
}

const BUFFERED = 1 << 20;

/** `inner` with a record of each request once it is done. Records go to a function, or to a stream as lines of JSON. */
export function trace(
  inner: BlockBackend,
  to: Writable | ((record: TraceRecord) => void),
  { client, export: name, since, buffered = BUFFERED, now = () => performance.now() }: TraceOptions = {},
): BlockBackend {
  const { record, end } = typeof to === 'function' ? { record: to, end: () => undefined } : lines(to, buffered);
  const start = since ?? now();
  const device = around(inner, (op, offset, length, work) => {
    const started = now();
    return whenSettled(work, (error) => {
      record({
        t: rounded(started - start),
        op,
        offset,
        length,
        took: rounded(now() - started),
        ...(error !== undefined && { error: nameOf(error) }),
        ...(name !== undefined && { export: name }),
        ...(client !== undefined && { client }),
      });
    });
  });
  return Object.assign(device, { close: () => whenSettled(() => inner.close(), end) }); // keeps the getter of `size`
}

/** Rounds to microseconds. */
const rounded = (milliseconds: number): number => Math.round(milliseconds * 1000) / 1000;

function nameOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return typeof code === 'string' ? code : String(message ?? error);
}

interface Lines {
  readonly record: (record: TraceRecord) => void;
  /** Reports the records that were dropped after the last written one. */
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
