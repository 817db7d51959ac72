/** Node.js for aarch64, on both libraries: run by QEMU's emulation of programs, which needs no machine. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { LONG, nodeos, temporary } from '../support.js';
import { PROBE, PROBED } from '../toolchain/answers.js';

const run = promisify(execFile);
/**
 * What the host's kernel, and not a library, answers; what the emulation does not have; and what starts a program, which
 * the host's kernel would have to run.
 */
const NOT_EMULATED = ['what is permitted', 'inspector', 'a long variable', 'a time zone'];

async function answersOn(libc: string): Promise<Record<string, unknown>> {
  const { status, stdout, stderr } = await nodeos('build', 'runtime', '--target', 'aarch64', '--libc', libc);
  expect(status, stderr).toBe(0);
  const root = join(stdout.trim().replace(/^\S+: /, ''), 'root');
  const script = join(await temporary(), 'probe.mjs');
  const top = await temporary();
  await writeFile(script, (await readFile(PROBE, 'utf8')).replace(PROBED, top));
  const qemu = ['-L', root, join(root, 'bin/node')];
  const { stdout: version } = await run('qemu-aarch64', [...qemu, '-p', 'process.version + process.arch']);
  expect(version).toBe('v26.12.1arm64\n');
  const { stdout: line } = await run('qemu-aarch64', [...qemu, script], { maxBuffer: 1 << 24 });
  return Object.fromEntries(
    Object.entries(JSON.parse(line) as object)
      .filter(([name]) => !NOT_EMULATED.includes(name))
      .map(([name, answer]) => [name, JSON.stringify(answer).replaceAll(top, 'TOP').replaceAll(root, 'ROOT')]),
  );
}

it('Node.js for aarch64 answers on musl as on glibc', { timeout: 3 * LONG }, async () => {
  expect(await answersOn('musl')).toEqual(await answersOn('glibc'));
});
