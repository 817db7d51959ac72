/** Bounds what a remote cache can do to a build: its size, and the time until it says something. */
import { collected, formatSize, messageOf, NodeosError } from '@nodeos/base';
import type { OutputId, RemoteCache } from './remote-cache.js';
import { MAX_MANIFEST, UntrustedError } from './shared-manifest.js';

export interface Patience {
  /** Milliseconds until the first byte, and from one piece to the next. */
  readonly silence: number;
  /** Bytes a second that it must have on average, once `grace` milliseconds are over. */
  readonly rate: number;
  readonly grace: number;
}

export const PATIENCE: Patience = { silence: 10_000, rate: 64 << 10, grace: 20_000 };

/** The cache is down, slow, or not there at all: nothing more is asked of it. */
export class RemoteDownError extends NodeosError {}

/** @returns the stored manifest, if there is one. @throws RemoteDownError, UntrustedError */
export async function readManifest(
  remote: RemoteCache,
  id: OutputId,
  signal: AbortSignal,
  patience: Patience,
): Promise<Buffer | undefined> {
  return patiently(signal, patience, async (inner, watch) => {
    const body = await watch.within(remote.manifest(id, inner));
    if (body === undefined) return undefined;
    const limit = formatSize(MAX_MANIFEST);
    return collected(watch.each(body), MAX_MANIFEST, () => new UntrustedError(`its manifest is longer than ${limit}`));
  });
}

/** Passes the packed files of an output to `use`. @throws RemoteDownError, and what `use` throws */
export function readContents(
  remote: RemoteCache,
  id: OutputId,
  digest: string,
  signal: AbortSignal,
  patience: Patience,
  use: (packed: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  return patiently(signal, patience, async (inner, watch) => {
    const body = await watch.within(remote.contents(id, digest, inner));
    if (!body) throw new UntrustedError('its files are not there, though its manifest is');
    await use(watch.each(body), inner);
  });
}

/** Runs requests that end when the cache falls silent. Errors other than UntrustedError become RemoteDownError. */
async function patiently<T>(
  outer: AbortSignal,
  patience: Patience,
  work: (signal: AbortSignal, watch: Watch) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const signal = AbortSignal.any([outer, stop.signal]);
  const watch = new Watch(patience, stop);
  try {
    return await work(signal, watch);
  } catch (error) {
    outer.throwIfAborted();
    if (error instanceof UntrustedError) throw error;
    const reason: unknown = stop.signal.aborted ? stop.signal.reason : error;
    const cause = reason instanceof Error && reason.cause instanceof Error ? ` (${messageOf(reason.cause)})` : '';
    throw new RemoteDownError(messageOf(reason) + cause, { cause: error });
  } finally {
    watch.end();
    stop.abort(); // closes what is still open
  }
}

class Watch {
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly patience: Patience,
    private readonly stop: AbortController,
  ) {}

  /** Waits for an answer. The timer ends the wait even if the cache ignores its signal. */
  within<T>(answer: Promise<T>): Promise<T> {
    const silent = new Promise<never>((_resolve, reject) => {
      this.#timer = setTimeout(() => {
        const error = new Error(`it has not answered for ${this.patience.silence / 1000} s`);
        this.stop.abort(error);
        reject(error);
      }, this.patience.silence);
    });
    return Promise.race([answer, silent]).finally(() => this.end());
  }

  async *each(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { rate, grace } = this.patience;
    const pieces = body[Symbol.asyncIterator]();
    let waited = 0;
    let received = 0;
    try {
      for (;;) {
        const asked = performance.now();
        const next: IteratorResult<Uint8Array, unknown> = await this.within(pieces.next());
        if (next.done === true) return;
        const { value } = next;
        // Time that the consumer takes is not the cache's.
        waited += performance.now() - asked;
        received += value.length;
        if (waited > grace && (received / waited) * 1000 < rate)
          throw new Error(`it is slow: ${formatSize(received)} in ${(waited / 1000).toFixed(0)} s`);
        yield value;
      }
    } finally {
      void pieces.return?.().catch(() => undefined);
    }
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}
