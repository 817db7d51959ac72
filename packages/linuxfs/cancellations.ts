/** Requests that signals may give up. A signal has one listener, however many requests it concerns. */
export class Cancellations {
  readonly #bySignal = new Map<AbortSignal, Set<number>>();

  /** @param cancel is given the tag of each request that is given up */
  constructor(private readonly cancel: (tag: number) => void) {}

  /** @returns what is called when the request has its reply */
  add(signal: AbortSignal, tag: number): () => void {
    const tags = this.#bySignal.get(signal) ?? this.#listen(signal);
    tags.add(tag);
    return () => {
      tags.delete(tag);
      if (tags.size > 0) return;
      this.#bySignal.delete(signal);
      signal.removeEventListener('abort', this.#abort);
    };
  }

  #listen(signal: AbortSignal): Set<number> {
    const tags = new Set<number>();
    this.#bySignal.set(signal, tags);
    signal.addEventListener('abort', this.#abort);
    return tags;
  }

  readonly #abort = ({ target }: Event): void => {
    for (const tag of this.#bySignal.get(target as AbortSignal) ?? []) this.cancel(tag);
  };
}
