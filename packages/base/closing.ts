/** Closes several open resources. Each one is closed even if an earlier step has failed. */

export type Closer = () => Promise<void> | void;

/**
 * Waits for `work`, then runs the closers that the list holds at that moment, from the last to the first.
 * @returns the result of `work`
 * @throws the only failure, or an AggregateError with all failures in the order in which they happened
 */
export async function closing<T>(work: Promise<T>, closers: readonly Closer[]): Promise<T> {
  const failures: unknown[] = [];
  const note = (error: unknown): void => void failures.push(error);
  const result = await work.catch(note);
  for (const close of [...closers].reverse()) await Promise.resolve().then(close).catch(note);
  if (failures.length === 0) return result as T;
  throw failures.length === 1 ? failures[0] : new AggregateError(failures, '');
}
