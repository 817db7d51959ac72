/**
 * A device that begins to make writes durable before it is asked to. Whoever copies much into a file and then flushes
 * waits for the copying first, and then for the disk below; so both go on at once, and the flush finds little to do.
 */
import { around } from './around.js';
import type { BlockBackend, MaybePromise } from './backend.js';
import { whenSettled } from './maybe.js';

/** Bytes. Of 256 MiB that were written to a file and flushed, 32 MiB took the least time (16 to 64 were tried). */
const EVERY = 32 << 20;

/**
 * `inner`, flushed whenever another `every` bytes have been written to it. One such flush runs at a time, and writes do not
 * wait for it. If it fails, the next `flush` fails with its error. None runs beside a `flush`: a system tells the error of a
 * lost write to one of both, which must be the one that was asked for.
 */
export function flushEarly(inner: BlockBackend, every = EVERY): BlockBackend {
  let written = 0;
  let running: Promise<void> | undefined;
  let failure: { readonly error: unknown } | undefined;

  /** @returns what `work` does. Until it has ended, nothing else begins */
  function alone<T>(work: () => Promise<T>): Promise<T> {
    written = 0;
    const done = work();
    const end = (): void => void (running = undefined);
    running = done.then(end, end);
    return done;
  }

  const begin = (): Promise<void> =>
    alone(async () => {
      await inner.flush?.();
    }).catch((error: unknown) => void (failure ??= { error }));

  async function flush<T>(work: () => MaybePromise<T>): Promise<T> {
    while (running) await running;
    if (failure) {
      const { error } = failure;
      failure = undefined;
      throw error;
    }
    return alone(async () => await work());
  }

  const device = around(inner, (operation, _offset, length, work) => {
    if (operation === 'flush') return flush(work);
    if (operation !== 'write') return work();
    return whenSettled(work, () => {
      written += length;
      if (written >= every && !running) void begin();
    });
  });
  return {
    ...device,
    get size() {
      return inner.size;
    },
    close: async () => {
      await running;
      await inner.close();
    },
  };
}
