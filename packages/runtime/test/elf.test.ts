/** Reads ELF files of the host, and compares with readelf. Also reads damaged files. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { parseElf, readElf, type Elf } from '../elf.js';

const dir = mkdtempSync(join(tmpdir(), 'nodeos-elf-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const missing = ['gcc', 'readelf'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
if (process.platform !== 'linux') missing.push('Linux');

function byReadelf(path: string): Omit<Elf, 'machine'> {
  const text = execFileSync('readelf', ['-W', '-d', '-l', path], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  const all = (pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, name]) => name ?? '');
  const [interpreter] = all(/\[Requesting program interpreter: (.*?)\]/g);
  const [soname] = all(/\(SONAME\) .*\[(.*)\]/g);
  return {
    needed: all(/\(NEEDED\) .*\[(.*)\]/g),
    ...(interpreter === undefined ? {} : { interpreter }),
    ...(soname === undefined ? {} : { soname }),
  };
}

function compile(name: string, source: string, ...options: string[]): string {
  const path = join(dir, name);
  writeFileSync(`${path}.c`, source);
  execFileSync('gcc', ['-s', '-o', path, `${path}.c`, ...options], { stdio: 'pipe' });
  return path;
}

const MAIN = 'int main(void) { return 0; }';

/** The libraries that this process has loaded. */
const loaded = (): string[] => {
  const maps = readFileSync('/proc/self/maps', 'utf8');
  return [...new Set([...maps.matchAll(/\s(\/\S+\.so[\d.]*)$/gm)].map(([, path]) => path ?? ''))].filter(existsSync);
};

describe.skipIf(missing.length > 0)(`ELF files${missing.map((name) => ` (not here: ${name})`).join('')}`, () => {
  let dynamic = '';
  beforeAll(() => {
    dynamic = compile('dynamic', MAIN);
  });

  it('of Node.js, and of all libraries that it has loaded, are read like readelf does', async () => {
    const paths = [realpathSync(process.execPath), ...loaded()];
    expect(paths.length).toBeGreaterThan(3);
    for (const path of paths) {
      const { machine, ...elf } = await readElf(path);
      expect({ path, ...elf }).toEqual({ path, ...byReadelf(path) });
      expect(machine).toBe({ x64: 62, arm64: 183 }[process.arch as string]);
    }
  });

  it.each([
    ['dynamic', () => dynamic],
    ['static', () => compile('static', 'void _start(void) { for (;;); }', '-nostdlib', '-static')],
    [
      'static and relocatable',
      () => compile('static-pie', 'void _start(void) { for (;;); }', '-nostdlib', '-static-pie'),
    ],
    ['a library', () => compile('libx.so.3', 'int x;', '-shared', '-Wl,-soname,libx.so.3')],
    ['a library without a name', () => compile('liby.so', 'int y;', '-shared', '-nostdlib')],
    ['with another interpreter', () => compile('other', MAIN, '-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1')],
    ['with libraries in order', () => compile('two', MAIN, '-Wl,--no-as-needed', '-lm', '-ldl', '-lpthread')],
  ])('that are %s are read like readelf does', async (_, make) => {
    const path = make();
    const { machine, ...elf } = await readElf(path);
    expect(elf).toEqual(byReadelf(path));
    expect(machine).toBeGreaterThan(0);
  });

  it('that are damaged quickly give an error or a sane result', () => {
    const whole = readFileSync(dynamic);
    const read = (bytes: Buffer): void => {
      try {
        const { needed, interpreter, soname } = parseElf(bytes);
        expect(needed.length).toBeLessThan(whole.length / 16);
        for (const name of [...needed, interpreter ?? '', soname ?? '']) expect(name.length).toBeLessThanOrEqual(4096);
      } catch (error) {
        if ((error as Error).name === 'AssertionError') throw error;
        expect(error).toBeInstanceOf(Error);
      }
    };
    const start = Number(whole.readBigUInt64LE(32));
    const header = start + 56 * whole.readUInt16LE(56);
    const place = fc.oneof(fc.nat(63), fc.integer({ min: start, max: header }), fc.nat(whole.length - 1));
    const change = fc.tuple(place, fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat(255)));
    const length = fc.oneof(fc.constant(whole.length), fc.nat(whole.length));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 12 }), length, (changes, size) => {
        const bytes = Buffer.from(whole.subarray(0, size));
        for (const [at, value] of changes) if (at < size) bytes[at] = value;
        read(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it('that are truncated are refused, or give all needed libraries', () => {
    const whole = readFileSync(dynamic);
    const { needed } = parseElf(whole);
    expect(needed).not.toEqual([]);
    for (let size = 0; size < whole.length; size += 8) {
      let cut: Elf | undefined;
      try {
        cut = parseElf(whole.subarray(0, size));
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
      if (cut) expect(cut.needed).toEqual(needed);
    }
  });

  it('that name one long library many times do not fill the memory', () => {
    const whole = readFileSync(dynamic);
    const many = 1 << 16;
    const bytes = Buffer.alloc(whole.length + many * 16 + (1 << 20), 'x');
    whole.copy(bytes);
    for (let i = 0; i < many; i++) {
      bytes.writeBigUInt64LE(1n, whole.length + i * 16); // DT_NEEDED
      bytes.writeBigUInt64LE(BigInt(whole.length + many * 16), whole.length + i * 16 + 8);
    }
    bytes[bytes.length - 1] = 0;
    bytes.writeBigUInt64LE(5n, whole.length); // DT_STRTAB, at the start of the file
    bytes.writeBigUInt64LE(0n, whole.length + 8);
    const start = Number(bytes.readBigUInt64LE(32));
    for (let i = 0; i < bytes.readUInt16LE(56); i++) {
      const at = start + i * 56;
      if (bytes.readUInt32LE(at) !== 2) continue; // PT_DYNAMIC
      bytes.writeBigUInt64LE(BigInt(whole.length), at + 8);
      bytes.writeBigUInt64LE(BigInt(many * 16), at + 32);
    }
    expect(() => parseElf(bytes)).toThrow('a name is longer than 4096 bytes');
  });
});

describe('a file that is not a well-formed ELF file', () => {
  const header = (changes: Record<number, number>): Buffer => {
    const bytes = Buffer.alloc(64);
    bytes.write('\x7fELF\x02\x01\x01', 'latin1');
    bytes.writeUInt16LE(56, 54);
    for (const [at, value] of Object.entries(changes)) bytes[Number(at)] = value;
    return bytes;
  };

  it.each([
    ['nothing', Buffer.alloc(0), 'not an ELF file'],
    ['a script', Buffer.from('#!/bin/sh\n'.repeat(20)), 'not an ELF file'],
    ['a header cut short', header({}).subarray(0, 63), 'not an ELF file'],
    ['32 bits', header({ 4: 1 }), 'not a 64-bit little-endian ELF file'],
    ['big-endian', header({ 5: 2 }), 'not a 64-bit little-endian ELF file'],
    ['small program headers', header({ 54: 8, 56: 1 }), 'program headers lie outside the file'],
    ['more program headers than bytes', header({ 56: 2 }), 'program headers lie outside the file'],
    ['program headers at the end of time', header({ 39: 0xff }), 'an offset is too large'],
  ])('is refused: %s', (_, bytes, message) => {
    expect(() => parseElf(bytes)).toThrow(message);
  });

  it('is named in the error', async () => {
    const path = join(dir, 'text');
    writeFileSync(path, 'hello');
    await expect(readElf(path)).rejects.toThrow(`${path}: not an ELF file`);
    await expect(readElf(join(dir, 'missing'))).rejects.toThrow(/missing: ENOENT/);
  });

  it('may have any content', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (tail) => {
        const bytes = Buffer.concat([header({}).subarray(0, 32), tail]);
        try {
          parseElf(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
    );
  });
});
