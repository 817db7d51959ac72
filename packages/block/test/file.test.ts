import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { describe, expect, it, onTestFinished } from 'vitest';
import { runDelay } from '../run-delay.js';
import { file, loadSparse, pace, type BlockBackend, type Extent } from '../index.js';
import { errorOf, noise, readAll, scratch } from './helpers.js';

const path = scratch();
const MIB = 1 << 20;
const sparse = await loadSparse();

/** The ends of each run of data, found by another program. */
function dataRuns(name: string): number[][] {
  const program = `
import os, sys, json
fd = os.open(sys.argv[1], os.O_RDONLY); end = os.fstat(fd).st_size; at = 0; runs = []
while True:
    try: data = os.lseek(fd, at, os.SEEK_DATA)
    except OSError: break
    at = os.lseek(fd, data, os.SEEK_HOLE); runs.append([data, at])
print(json.dumps(runs))`;
  return JSON.parse(execFileSync('python3', ['-c', program, name]).toString()) as number[][];
}

const dataOf = (extents: readonly Extent[] | undefined): number[][] =>
  (extents ?? []).filter(({ zero }) => !zero).map(({ offset, length }) => [offset, offset + length]);

function withHoles(): string {
  const name = path('sparse');
  const fd = openSync(name, 'w');
  ftruncateSync(fd, 64 * MIB);
  for (const at of [0, 7, 8, 31]) writeSync(fd, noise(MIB, at), 0, MIB, at * MIB);
  closeSync(fd);
  return name;
}

describe.skipIf(sparse === undefined)('holes in files', () => {
  it('are where another program finds them', async () => {
    const name = withHoles();
    const device = await file(name);
    expect(dataOf(await device.extents?.(0, device.size))).toEqual(dataRuns(name));
    expect(dataRuns(name)).toHaveLength(3);
    expect(dataOf(await device.extents?.(7 * MIB + 1000, MIB))).toEqual([[7 * MIB + 1000, 8 * MIB + 1000]]);
    await device.close();
  });

  it('are made by trim and by zero', async () => {
    const name = withHoles();
    const device = await file(name);
    const before = statSync(name).blocks * 512;
    await device.trim?.(7 * MIB, MIB);
    expect(statSync(name).blocks * 512).toBe(before - MIB);
    await device.zero?.(8 * MIB, MIB);
    expect(statSync(name).blocks * 512).toBe(before - 2 * MIB);
    expect(dataOf(await device.extents?.(0, device.size))).toEqual(dataRuns(name));
    expect(statSync(name).size).toBe(64 * MIB);
    await device.close();
  });

  it('are not made by zeros that keep their space allocated', async () => {
    const name = withHoles();
    const device = await file(name);
    const before = statSync(name).blocks;
    await device.zero?.(7 * MIB, MIB, { mayTrim: false });
    expect(statSync(name).blocks).toBe(before);
    const bytes = new Uint8Array(MIB).fill(1);
    await device.read(bytes, 7 * MIB);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    await device.close();
  });

  it.each<[what: string, change: (device: BlockBackend) => unknown]>([
    ['trim', (device) => device.trim?.(0, 200 * MIB)],
    ['zero', (device) => device.zero?.(0, 200 * MIB)],
  ])('are made by a %s larger than one punching call', async (_what, change) => {
    const name = path('long');
    const fd = openSync(name, 'w');
    ftruncateSync(fd, 201 * MIB);
    for (const at of [0, 64, 127, 199, 200]) writeSync(fd, noise(MIB, at), 0, MIB, at * MIB);
    closeSync(fd);
    const device = await file(name);
    await change(device);
    expect(dataRuns(name)).toEqual([[200 * MIB, 201 * MIB]]);
    await device.close();
  });

  it.each([61, 20, 0])('end where the file was truncated (at %i MiB), and reads beyond that fail', async (cut) => {
    const name = path('cut');
    const fd = openSync(name, 'w');
    ftruncateSync(fd, 60 * MIB);
    for (let at = 60; at < 64; at++) writeSync(fd, noise(MIB, at), 0, MIB, at * MIB);
    closeSync(fd);
    const device = await file(name);
    truncateSync(name, cut * MIB);
    const lost = [Math.min(cut, 60) * MIB, 64 * MIB];
    expect(dataOf(await device.extents?.(0, device.size))).toEqual([lost]);
    expect(dataOf(await device.extents?.(62 * MIB, MIB))).toEqual([[62 * MIB, 63 * MIB]]);
    expect((await errorOf(() => device.read(new Uint8Array(10), 62 * MIB))).code).toBe('EIO');
    await device.close();
  });

  it('can be many', async () => {
    const name = path('many');
    const fd = openSync(name, 'w');
    for (let index = 0; index < 5000; index++) writeSync(fd, noise(4096, index), 0, 4096, index * 8192);
    closeSync(fd);
    const device = await file(name, { readOnly: true });
    const extents = await device.extents?.(0, device.size);
    expect(dataOf(extents)).toEqual(dataRuns(name));
    expect(extents?.length).toBeGreaterThan(9000);
    await device.close();
  });
});

describe('a file', () => {
  it('has one extent and refuses fast zeros if it has no holes', async () => {
    const device = await file(withHoles(), { sparse: false });
    expect(await device.extents?.(5, 100)).toEqual([{ offset: 5, length: 100, hole: false, zero: false }]);
    expect((await errorOf(() => device.zero?.(0, 10, { fast: true }))).code).toBe('ENOTSUP');
    await device.close();
  });

  it('writes zeros if the filesystem cannot make holes', async () => {
    const never = { nextData: () => 0, nextHole: () => undefined, punch: () => false, zeroRange: () => false };
    const name = path('plain');
    writeFileSync(name, noise(MIB, 1));
    const device = await file(name, { sparse: never });
    await device.zero?.(10, 900_000);
    await device.trim?.(0, MIB);
    const expected = noise(MIB, 1).fill(0, 10, 900_010);
    expect(Buffer.compare(await readAll(device), expected)).toBe(0);
    expect((await errorOf(() => device.zero?.(0, 10, { fast: true }))).code).toBe('ENOTSUP');
    await device.close();
  });

  it.each([true, false])('makes long zeros that keep their space allocated (call available: %s)', async (isThere) => {
    const name = path('plain');
    const calls: [number, number][] = [];
    const zeroRange = (_fd: number, offset: number, length: number): boolean => {
      calls.push([offset, length]);
      return isThere;
    };
    const unused = { nextData: () => 0, nextHole: () => undefined, punch: () => expect.fail('not to be called') };
    const device = await file(name, { create: 66 * MIB, sparse: { ...unused, zeroRange } });
    const last = 65 * MIB + 5 - 10;
    await device.write?.(noise(10, 1), last);
    await device.zero?.(5, 65 * MIB, { mayTrim: false });
    const pieces = [
      [5, 64 * MIB],
      [64 * MIB + 5, MIB],
    ];
    expect(calls).toEqual(isThere ? pieces : pieces.slice(0, 1));
    const bytes = new Uint8Array(10);
    await device.read(bytes, last);
    expect(bytes).toEqual(isThere ? noise(10, 1) : new Uint8Array(10));
    await device.close();
  });

  it('creates a new file or fails', async () => {
    const name = path('new');
    const device = await file(name, { create: 5 * MIB });
    expect([device.size, statSync(name).size, statSync(name).blocks]).toEqual([5 * MIB, 5 * MIB, 0]);
    await device.close();
    expect((await errorOf(() => file(name, { create: 1 }))).code).toBe('EEXIST');
    expect((await errorOf(() => file(path('none')))).code).toBe('ENOENT');
    expect((await errorOf(() => file('/dev/null'))).code).toBe('EINVAL');
  });

  it('opens another device than a block device only if its size is given', async () => {
    const device = await file('/dev/zero', { readOnly: true, size: MIB });
    const bytes = noise(1000, 1);
    await device.read(bytes, MIB - 1000);
    expect([device.size, bytes.every((byte) => byte === 0)]).toEqual([MIB, true]);
    await device.close();
  });

  it.each([256 << 10, -1])('reports a truncated file as an error (synchronous up to %i bytes)', async (largest) => {
    const name = path('short');
    writeFileSync(name, noise(10_000, 1));
    const device = await file(name, { pace: { largest } });
    truncateSync(name, 6000);
    const error = await errorOf(() => device.read(new Uint8Array(2000), 5000));
    expect(error.code).toBe('EIO');
    expect(error.message).toContain(`${name}: ends at byte 6000`);
    await device.close();
  });
});

describe('the pace', () => {
  /** Simulates requests that take the given milliseconds. @returns which of them were made at once */
  function run(times: readonly number[], length = 4096, options = {}): boolean[] {
    let clock = 1000;
    const requests = pace({ now: () => clock, delay: () => 0, least: 2, most: 8, ...options });
    return times.map((time) => {
      const begun = requests.begin(length);
      clock += time;
      if (begun < 0) return false;
      requests.end(begun, length);
      return true;
    });
  }
  const often = (count: number, time: number): number[] => new Array<number>(count).fill(time);
  const at = (made: readonly boolean[]): number[] => made.flatMap((once, index) => (once ? [index] : []));

  it('makes quick requests at once', () => {
    expect(run(often(50, 0.5)).every(Boolean)).toBe(true);
  });

  it('doubles the requests through the pool up to a limit while they are slow', () => {
    expect(at(run(often(40, 5)))).toEqual([0, 3, 8, 17, 26, 35]);
  });

  it('returns to requests at once when they are quick', () => {
    const made = run([...often(10, 5), ...often(30, 0.1)]);
    expect(at(made)).toEqual([0, 3, 8, ...Array.from({ length: 23 }, (_, index) => 17 + index)]);
  });

  it('forgives one slow request after as many quick ones as its penalty', () => {
    const made = run([5, ...often(2, 0), ...often(3, 0), 5, ...often(3, 0)]);
    expect(at(made)).toEqual([0, 3, 4, 5, 6, 9]);
  });

  it('does not blame the disk for time without a processor', () => {
    let [clock, waited] = [1000, 0];
    const requests = pace({ now: () => clock, delay: () => waited });
    const isAtOnce = (time: number, delay: number): boolean => {
      const begun = requests.begin(4096);
      clock += time;
      waited += delay;
      if (begun >= 0) requests.end(begun, 4096);
      return begun >= 0;
    };
    // Of 5 ms, 4.5 were spent waiting for a processor. On a busy machine this can happen on every second request.
    for (let index = 0; index < 500; index++) expect([isAtOnce(5, 4.5), isAtOnce(0.01, 0)]).toEqual([true, true]);
    // Waiting for the disk counts, however much time was lost to others before or meanwhile.
    clock += 50;
    waited += 50;
    expect([isAtOnce(5, 3), isAtOnce(0, 0)]).toEqual([true, false]);
  });

  /** Starts four busy programs per processor. */
  function crowd(): void {
    const count = 4 * availableParallelism();
    const all = Array.from({ length: count }, () => spawn('sh', ['-c', 'while :; do :; done']));
    onTestFinished(() => all.forEach((child) => child.kill('SIGKILL')));
  }

  it('knows how long this thread has waited for a processor', () => {
    crowd();
    const [begun, before, used] = [performance.now(), runDelay(), process.cpuUsage()];
    while (performance.now() - begun < 500) readFileSync('/proc/uptime');
    const [time, delay, cpu] = [performance.now() - begun, runDelay() - before, process.cpuUsage(used)];
    expect(delay).toBeGreaterThan(20);
    // The time running and the time waiting for a processor add up to all of it: nothing here waits for a disk.
    expect(delay).toBeLessThan(time + 20);
    expect(delay + (cpu.user + cpu.system) / 1000).toBeGreaterThan(0.7 * time);
  });

  it('reads cached bytes at once, even on a busy machine', async () => {
    const name = path('cached');
    writeFileSync(name, noise(MIB, 1));
    const device = await file(name);
    crowd();
    const into = new Uint8Array(4096);
    let [count, pooled] = [0, 0];
    for (const until = performance.now() + 1000; performance.now() < until; count++) {
      const answer = device.read(into, (count % 256) * 4096);
      if (answer instanceof Promise) pooled++;
      await answer;
    }
    await device.close();
    expect(pooled).toBeLessThan(Math.max(10, count / 1000)); // so busy that few are read: some may have waited for a processor
  });

  it('gives large requests more time, and sends the largest to the pool', () => {
    expect(run(often(3, 1.2), 256 << 10).every(Boolean)).toBe(true);
    expect(at(run(often(3, 1.3), 256 << 10))).toEqual([0]);
    expect(run(often(3, 0), (256 << 10) + 1).some(Boolean)).toBe(false);
  });
});
