/** The end of what holds several things open: each is closed, whatever has failed before. */

export type Closer = () => Promise<void> | void;

/**
 * The outcome of `work`, after all of the closers that are there then, from the last to the first.
 * @throws what failed; an AggregateError, in order, if that is more than one
 */
export async function closing<T>(work: Promise<T>, closers: readonly Closer[]): Promise<T> {
  const failures: unknown[] = [];
  const note = (error: unknown): void => void failures.push(error);
  const result = await work.catch(note);
  for (const close of [...closers].reverse()) await Promise.resolve().then(close).catch(note);
  if (failures.length === 0) return result as T;
  throw failures.length === 1 ? failures[0] : new AggregateError(failures, '');
}
