/** When a thread looks for the next request instead of sleeping. */
import { closeSync, openSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Arrivals } from '../server/arrivals.js';

/** Takes `turns` times from a descriptor at which there is always something. @returns how often `receive` was asked */
function lookingTurns(turns: number, receive: () => number): number {
  const fd = openSync('/dev/zero', 'r');
  onTestFinished(() => closeSync(fd));
  const into = Buffer.alloc(64);
  const looking = new Set<number>();
  let turn = 0;
  const arrivals = new Arrivals(fd, () => {
    looking.add(turn);
    return receive();
  });
  for (; turn < turns; turn++) expect(arrivals.take(into)).toBeGreaterThan(0);
  return looking.size;
}

describe('looking for the next request', () => {
  it('goes on while requests arrive quickly', () => {
    expect(lookingTurns(1000, () => 28)).toBeGreaterThan(900);
  });

  it('becomes rare when it finds nothing', () => {
    const turns = lookingTurns(1000, () => -1);
    expect(turns).toBeGreaterThan(10);
    expect(turns).toBeLessThan(150);
  });

  it('hands on the end of the stream at once', () => {
    const fd = openSync('/dev/zero', 'r');
    onTestFinished(() => closeSync(fd));
    const arrivals = new Arrivals(fd, () => 0);
    const taken = Array.from({ length: 100 }, () => arrivals.take(Buffer.alloc(64)));
    expect(taken.at(-1)).toBe(0);
  });
});
