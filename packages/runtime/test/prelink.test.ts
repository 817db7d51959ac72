/** Prelinking, with programs of the host's compiler: they run, at a fixed address, and nothing is left to relocate. */
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { prelink } from '../prelink.js';
import { setThreadStack } from '../stack.js';

const exec = promisify(execFile);
let dir = '';
let program = '';

/** Tables of addresses, thread-local storage, a function of the C library called through a table, an indirect function. */
const SOURCE = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static const char *const names[] = {"one", "two", "three"};
static int twice(int n) { return 2 * n; }
static int thrice(int n) { return 3 * n; }
static int (*const functions[])(int) = {twice, thrice};
static int (*resolve(void))(int) { return thrice; }
int chosen(int) __attribute__((ifunc("resolve")));
size_t (*const length)(const char *) = strlen;
__thread int local = 5;
int exported = 7, *pointer = &exported;
__attribute__((constructor)) static void begin(void) { local++; }
int main(int argc, char **argv)
{
    (void)argv;
    printf("%s %d %d %zu %d %d\\n", names[argc + 1], functions[argc](7), chosen(5), length("four"), local, *pointer);
    return 0;
}
`;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nodeos-prelink-'));
  program = join(dir, 'program');
  await writeFile(`${program}.c`, SOURCE);
  await exec('gcc', ['-O1', '-fPIE', '-pie', '-rdynamic', '-Wl,-z,now,-z,relro', '-o', program, `${program}.c`]);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe.runIf(process.arch === 'x64' && process.platform === 'linux')('a prelinked program', () => {
  it('does the same at a fixed address, with nothing left that depends on it', async () => {
    const before = await exec(program);
    expect(before.stdout).toBe('three 21 15 4 6 7\n');
    const binary = await readFile(program);
    prelink(binary);
    // Without section headers, which still show the whole table, readelf looks where the loader does.
    binary.writeBigUInt64LE(0n, 40);
    binary.writeUInt32LE(0, 60);
    const path = join(dir, 'prelinked');
    await writeFile(path, binary);
    await chmod(path, 0o755);
    expect((await exec(path)).stdout).toBe(before.stdout);
    const { stdout } = await exec('readelf', ['-hlrdDW', path]);
    expect(stdout).toMatch(/Type: +EXEC/);
    expect(stdout).toMatch(/LOAD +0x0+ 0x0*400000 /);
    expect(stdout).not.toMatch(/R_X86_64_RELATIVE| PIE/);
    expect(stdout).toContain('R_X86_64_GLOB_DAT');
  });

  it('is refused a second time', async () => {
    const binary = await readFile(program);
    prelink(binary);
    expect(() => prelink(binary)).toThrow('it is not position-independent');
  });

  it('may be damaged: an error, and no more', async () => {
    const whole = await readFile(program);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0x400 }), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const binary = Buffer.from(whole);
        binary[at] = byte;
        try {
          prelink(binary);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('the stack of threads', () => {
  it('is written where musl looks for it', async () => {
    const binary = await readFile(program);
    setThreadStack(binary);
    const path = join(dir, 'stack');
    await writeFile(path, binary);
    expect((await exec('readelf', ['-lW', path])).stdout).toMatch(/GNU_STACK +0x0+ 0x0+ 0x0+ 0x0+ 0x800000 +RW/);
  });
});
