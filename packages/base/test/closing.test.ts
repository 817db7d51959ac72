import { describe, expect, it } from 'vitest';
import { closing, type Closer } from '../closing.js';

/** Closers that record their calls. The ones named in `failing` throw. */
function recorded(...failing: string[]): { called: string[]; closers: Closer[] } {
  const called: string[] = [];
  const closers = ['first', 'second', 'third'].map((name) => () => {
    called.push(name);
    if (failing.includes(name)) throw new Error(`${name} fails`);
  });
  return { called, closers };
}

describe('closing', () => {
  it('returns the result of the work after running all closers, last one first', async () => {
    const { called, closers } = recorded();
    expect(await closing(Promise.resolve(7), closers)).toBe(7);
    expect(called).toEqual(['third', 'second', 'first']);
  });

  it('runs every closer despite failures and reports all failures', async () => {
    const one = recorded('third');
    await expect(closing(Promise.resolve(), one.closers)).rejects.toThrow('third fails');
    expect(one.called).toEqual(['third', 'second', 'first']);
    const all = recorded('third', 'first');
    const work = Promise.reject<number>(new Error('work fails'));
    const error = (await closing(work, all.closers).catch((error: unknown) => error)) as AggregateError;
    expect(error.errors.map(({ message }: Error) => message)).toEqual(['work fails', 'third fails', 'first fails']);
    expect(all.called).toEqual(['third', 'second', 'first']);
  });
});
