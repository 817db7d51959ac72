/**
 * Compares the filter's table with the C headers, and runs the filter on a small simulator of its instructions.
 * test/boot/confinement.test.ts checks it in a real kernel.
 */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Architecture } from '../guest/architecture.js';
import { ABIS, DENIED, filter } from '../guest/seccomp.js';

const HEADERS = {
  x86_64: ['/usr/include/x86_64-linux-gnu/asm/unistd_64.h', '/usr/include/asm/unistd_64.h'],
  aarch64: ['/usr/include/asm-generic/unistd.h'],
} as const;

describe.each(['x86_64', 'aarch64'] as const)('the table of %s', (architecture) => {
  const header = HEADERS[architecture].find((path) => existsSync(path));

  it.skipIf(header === undefined)('has the numbers of the C headers', () => {
    const text = readFileSync(header ?? '', 'utf8');
    const numbers = new Map(
      [...text.matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)/gm)].map(([, name, number]) => [name, Number(number)]),
    );
    const { column, clone, socket } = ABIS[architecture];
    const all = Object.assign({}, ...DENIED.map(({ calls }) => calls)) as Record<string, readonly [number, number]>;
    const table = Object.entries(all).map(([name, columns]) => [name, columns[column]] as const);
    for (const [name, number] of [...table, ['clone', clone], ['socket', socket]] as const) {
      expect([name, number]).toEqual([name, numbers.get(name) ?? -1]);
    }
  });

  it('names no call twice and none that is newer than its end', () => {
    const numbers = DENIED.flatMap(({ calls }) => Object.values(calls).map((row) => row[ABIS[architecture].column]));
    const there = numbers.filter((number) => number >= 0);
    expect(new Set(there).size).toBe(there.length);
    expect(Math.max(...there)).toBeLessThanOrEqual(ABIS[architecture].last);
  });

  it('denies its calls, newer calls and x32 calls, and nothing else', () => {
    const { column, clone, socket, last } = ABIS[architecture];
    const denied = new Map(
      DENIED.flatMap(({ error, calls }) => Object.values(calls).map((row) => [row[column], error] as const)),
    );
    for (let number = 0; number < 1000; number++) {
      if (number === clone || number === socket) continue;
      expect([number, judge(architecture, number)]).toEqual([
        number,
        number > last ? 'errno 38' : denied.has(number) ? `errno ${denied.get(number)}` : 'allow',
      ]);
    }
    expect(judge(architecture, 0x40000000 + 39)).toBe('errno 38');
    expect(judge(architecture, 0xffffffff)).toBe('errno 38');
  });

  it('kills a process that uses the calls of another architecture', () => {
    for (const audit of [0x40000003, 0x40000028, 0]) expect(judge(architecture, 39, 0, audit)).toBe('kill');
  });

  it.each([
    ['threads of a C library', 0x3d0f00, 'allow'],
    ['fork', 0x01200011, 'allow'],
    ['vfork', 0x4111, 'allow'],
    ['a user namespace', 0x10000011, 'errno 1'],
    ['a network namespace', 0x40000011, 'errno 1'],
    ['a mount namespace and a fork', 0x01220011, 'errno 1'],
  ])('judges clone with %s', (_, flags, expected) => {
    expect(judge(architecture, ABIS[architecture].clone, flags)).toBe(expected);
  });

  it.each([
    [0, 'errno 97'],
    [1, 'allow'],
    [2, 'allow'],
    [10, 'allow'],
    [16, 'allow'],
    [17, 'errno 97'],
    [38, 'errno 97'],
    [40, 'errno 97'],
  ])('judges a socket of family %i', (family, expected) => {
    expect(judge(architecture, ABIS[architecture].socket, family)).toBe(expected);
  });
});

/** Runs the filter on a call. @param argument the first argument */
function judge(architecture: Architecture, number: number, argument = 0, audit = ABIS[architecture].audit): string {
  const program = filter(architecture);
  const data = new Map([
    [0, number],
    [4, audit],
    [16, argument],
  ]);
  let accumulator = 0;
  for (let at = 0; ; at += 8) {
    const [code, constant] = [program.readUInt16LE(at), program.readUInt32LE(at + 4)];
    const jump = (holds: boolean): number => (at += 8 * program.readUInt8(at + (holds ? 2 : 3)));
    if (code === 0x20) accumulator = data.get(constant) ?? NaN;
    else if (code === 0x15) jump(accumulator === constant);
    else if (code === 0x25) jump(accumulator > constant);
    else if (code === 0x45) jump((accumulator & constant) !== 0);
    else if (code === 0x06) return meaningOf(constant);
    else throw new Error(`instruction ${code}`);
  }
}

function meaningOf(action: number): string {
  if (action === 0x7fff0000) return 'allow';
  return action === 0x80000000 ? 'kill' : `errno ${action - 0x50000}`;
}
