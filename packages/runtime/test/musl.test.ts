/** The changes to a program that make musl start it, checked with readelf; and the programs that are refused. */
import { execFileSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { setInterpreter } from '../musl.js';
import { setThreadStack } from '../stack.js';

const LOADER = '/lib/ld-musl-x86_64.so.1';

/** A program that is linked for glibc. */
const program = (): Buffer => readFileSync(realpathSync('/bin/true'));

async function headersOf(binary: Buffer): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'nodeos-musl-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  await writeFile(join(dir, 'program'), binary);
  return execFileSync('readelf', ['-lW', join(dir, 'program')], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
}

it('a program gets another interpreter in place of the old one', async () => {
  const binary = program();
  setInterpreter(binary, LOADER);
  expect(await headersOf(binary)).toContain(`[Requesting program interpreter: ${LOADER}]`);
  const [before, after] = [program(), binary].map((bytes) => bytes.length);
  expect(after).toBe(before);
});

it('a longer name, or a program without an interpreter, is refused', () => {
  expect(() => setInterpreter(program(), `/lib/${'x'.repeat(40)}`)).toThrow('there is no room for /lib/xxx');
  const [loader = ''] = /\/\S*ld-linux\S*/.exec(readFileSync('/proc/self/maps', 'utf8')) ?? [];
  expect(() => setInterpreter(readFileSync(realpathSync(loader)), LOADER)).toThrow('it has no interpreter');
});

it('threads get 8 MiB of stack', async () => {
  const binary = program();
  setThreadStack(binary);
  expect(await headersOf(binary)).toMatch(/GNU_STACK .* 0x800000 +RW/);
});
