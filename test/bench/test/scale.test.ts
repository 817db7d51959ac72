/** The simulation against what can be computed by hand. */
import { describe, expect, test } from 'vitest';
import { ownerOf } from '@nodeos/store';
import { virtualClock } from '../scale/clock.js';
import { linkOf, send } from '../scale/network.js';
import { randomStarts, simulate, type Setup } from '../scale/simulate.js';
import { decodeTraces, encodeTraces, type Trace } from '../scale/traces.js';

const MB = 1e6;
/** A link of 1 MB/s everywhere carries 1000 bytes in a millisecond. */
const SETUP: Setup = {
  hosts: 2,
  originBytesPerSecond: MB,
  hostBytesPerSecond: MB,
  roundTrip: 20,
  hop: 2,
  scope: 'host',
  memory: 100 * MB,
  disk: undefined,
  hasList: false,
  hasPeers: false,
};
/** Three round trips to open the image. */
const OPENING = 60;

const traceOf = (image: string, ...reads: readonly (readonly [id: string, bytes: number, after: number])[]): Trace => ({
  image,
  stored: reads.reduce((sum, [, bytes]) => sum + bytes, 0),
  reads: reads.map(([id, bytes, after]) => ({ id, bytes, after })),
  rest: 7,
});

describe('virtual time', () => {
  test('work is done in the order of its moments, and of its asking', () => {
    const clock = virtualClock();
    const done: string[] = [];
    const note = (name: string, delay: number): void => clock.after(delay, () => done.push(`${name} ${clock.now}`));
    for (const [name, delay] of [['c', 5], ['a', 1], ['d', 5], ['b', 2]] as const) note(name, delay); // prettier-ignore
    clock.after(3, () => note('later', 1));
    clock.run();
    expect(done).toEqual(['a 1', 'b 2', 'later 4', 'c 5', 'd 5']);
  });

  test('a thousand moments come in their order', () => {
    const clock = virtualClock();
    const seen: number[] = [];
    for (let number = 0; number < 1000; number++) clock.after((number * 7919) % 1000, () => seen.push(clock.now));
    clock.run();
    expect(seen).toEqual(Array.from({ length: 1000 }, (_, moment) => moment));
  });
});

describe('links', () => {
  const arrivals = (speeds: { from: number; to: number }, sizes: readonly number[]): number[] => {
    const clock = virtualClock();
    const [from, to] = [linkOf(speeds.from), linkOf(speeds.to)];
    const times: number[] = [];
    for (const bytes of sizes) send(clock, { from, to, bytes, latency: 10 }, () => times.push(clock.now));
    clock.run();
    return times;
  };

  test('the slower of two links decides', () => {
    expect(arrivals({ from: MB, to: MB }, [5000])).toEqual([15]);
    expect(arrivals({ from: MB / 5, to: MB }, [5000])).toEqual([35]);
    expect(arrivals({ from: MB, to: MB / 5 }, [5000])).toEqual([35]);
  });

  test('what begins later waits for what began before', () => {
    expect(arrivals({ from: MB, to: MB }, [5000, 3000])).toEqual([15, 18]);
    expect(arrivals({ from: MB, to: MB / 5 }, [5000, 3000])).toEqual([35, 50]);
  });
});

describe('starts', () => {
  test('one machine computes, and waits a round trip and a transfer for each chunk', () => {
    const trace = traceOf('a', ['x', 1000, 100], ['y', 3000, 50]);
    const { times, originBytes, originRequests } = simulate([{ at: 5, host: 0, trace }], SETUP);
    expect(times).toEqual([OPENING + 100 + (20 + 1) + 50 + (20 + 3) + 7]);
    expect([originBytes, originRequests]).toEqual([4000, 2]);
  });

  test('with the list, chunks come while the machine computes', () => {
    const trace = traceOf('a', ['x', 1000, 100], ['y', 3000, 50]);
    const { times } = simulate([{ at: 0, host: 0, trace }], { ...SETUP, hasList: true });
    expect(times).toEqual([OPENING + 100 + 50 + 7]);
  });

  test('with the list, a machine that computes little waits for the link alone', () => {
    const trace = traceOf('a', ['x', 1000, 1], ['y', 3000, 1]);
    const { times } = simulate([{ at: 0, host: 0, trace }], { ...SETUP, hasList: true });
    expect(times).toEqual([OPENING + 20 + 1 + 3 + 7]); // y is there 1 ms before it would be asked for, and x was not
  });

  test('two machines of two hosts share the link of the origin', () => {
    const trace = traceOf('a', ['x', 5000, 100]);
    const starts = [0, 1].map((host) => ({ at: 0, host, trace }));
    const { times, originBytes } = simulate(starts, SETUP);
    expect(times).toEqual([OPENING + 100 + 25 + 7, OPENING + 100 + 30 + 7]);
    expect(originBytes).toBe(10_000);
  });

  test('two machines of one host fetch each chunk once, and of different servers twice', () => {
    const trace = traceOf('a', ['x', 5000, 100]);
    const starts = [0, 0].map((host) => ({ at: 0, host, trace }));
    expect(simulate(starts, SETUP)).toMatchObject({ originBytes: 5000, times: [192, 192] });
    expect(simulate(starts, { ...SETUP, scope: 'machine' })).toMatchObject({ originBytes: 10_000, times: [192, 197] });
  });

  test('what the memory has no room for is fetched again, unless it is on the disk', () => {
    const trace = traceOf('a', ['x', 5000, 0], ['y', 5000, 0], ['x', 5000, 0]);
    const small = { ...SETUP, memory: 6000 };
    const starts = [{ at: 0, host: 0, trace }];
    expect(simulate(starts, small)).toMatchObject({ originBytes: 15_000, times: [OPENING + 3 * 25 + 7] });
    const disk = { most: MB, seek: 1, bytesPerSecond: 5 * MB };
    expect(simulate(starts, { ...small, disk })).toMatchObject({
      originBytes: 10_000,
      times: [OPENING + 2 * 25 + (1 + 1) + 7],
    });
  });

  test('a disk keeps its bound', () => {
    const reads = Array.from({ length: 40 }, (_, number) => [`c${number}`, 3000, 0] as const);
    const trace = traceOf('a', ...reads, ['c0', 3000, 0], ['c39', 3000, 0]);
    const disk = { most: 60_000, seek: 1, bytesPerSecond: 5 * MB };
    const { originRequests } = simulate([{ at: 0, host: 0, trace }], { ...SETUP, memory: 0, disk });
    expect(originRequests).toBe(41); // c0 was deleted, c39 was not
  });

  test('a chunk comes from its owner, which alone asks the origin', () => {
    const names = [0, 1].map((host) => `http://host-${host}:9200`);
    const idOf = (host: number): string =>
      Array.from({ length: 100 }, (_, number) => `id ${number}`).find((id) => ownerOf(id, names) === names[host]) ?? '';
    const peers = { ...SETUP, hasPeers: true };
    const starts = [0, 1].map((host) => ({ at: 0, host, trace: traceOf('a', [idOf(0), 5000, 100]) }));
    const { times, originBytes, originRequests } = simulate(starts, peers);
    expect([originBytes, originRequests]).toEqual([5000, 1]);
    // The other host asks 1 ms later, gets it 5 ms after the owner has it, and the way takes 1 ms.
    expect(times).toEqual([OPENING + 100 + 25 + 7, OPENING + 100 + 25 + 6 + 7]);
  });

  test('the image is opened once on a host, and a machine that comes later does not wait for it', () => {
    const trace = traceOf('a', ['x', 1000, 10]);
    const starts = [0, 50, 500].map((at) => ({ at, host: 0, trace }));
    expect(simulate(starts, SETUP).times).toEqual([OPENING + 10 + 21 + 7, OPENING - 50 + 10 + 21 + 7, 10 + 7]);
  });
});

test('the same seed gives the same starts, over all hosts and images', () => {
  const traces = ['a', 'b', 'c'].map((image) => traceOf(image, ['x', 1, 1]));
  const made = (seed: number) => randomStarts(traces, { count: 1000, hosts: 10, over: 5000, seed });
  expect(made(1)).toEqual(made(1));
  expect(made(1)).not.toEqual(made(2));
  expect(new Set(made(1).map(({ host }) => host)).size).toBe(10);
  expect(new Set(made(1).map(({ trace }) => trace.image)).size).toBe(3);
  expect(made(1).every(({ at }) => at >= 0 && at < 5000)).toBe(true);
});

test('traces are read as they were written', () => {
  const traces = [traceOf('a', ['x', 1000, 1.5]), traceOf('b')];
  expect(decodeTraces(encodeTraces(traces))).toEqual(traces);
});
