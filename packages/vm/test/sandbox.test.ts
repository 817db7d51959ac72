/** Tests for a sandbox: with the real QEMU and with programs that behave like a QEMU without one. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boardOf, targetOf, type Board } from '@nodeos/targets';
import { expect, it, onTestFinished } from 'vitest';
import { findSandboxProblem } from '../sandbox.js';

const board = boardOf(targetOf('x86_64'));
const { program } = board.emulator;

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'nodeos-vm-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A program in a folder that is the whole search path. */
function qemu(script: string): { board: Board; notes: string; calls: string } {
  const dir = folder();
  const calls = join(dir, 'calls');
  writeFileSync(join(dir, program), `#!/bin/sh\necho "$*" >> ${calls}\n${script}\n`, { mode: 0o755 });
  const { PATH } = process.env;
  process.env['PATH'] = dir;
  onTestFinished(() => void (process.env['PATH'] = PATH));
  return { board, notes: join(dir, 'notes.json'), calls };
}

it('the QEMU of this host has a sandbox', async () => {
  expect(await findSandboxProblem({ board, notes: join(folder(), 'notes.json') })).toBeUndefined();
});

it('the sandbox is tested once and a failure is explained', async () => {
  const words = 'qemu-system-x86_64: -sandbox on: sandbox support is not enabled in this binary';
  const { calls, ...options } = qemu(`[ "$1" = -sandbox ] || exit 0\necho '${words}' >&2\nexit 1`);
  for (let times = 0; times < 3; times++) expect(await findSandboxProblem(options)).toBe(words);
  expect(readFileSync(calls, 'utf8').trim().split('\n')).toHaveLength(2);
});

it('a QEMU that does not run at all is not tested for a sandbox', async () => {
  const { calls, ...options } = qemu('exit 1');
  expect(await findSandboxProblem(options)).toBeUndefined();
  expect(existsSync(calls)).toBe(true);
  rmSync(join(options.notes, '..', program));
  expect(await findSandboxProblem(options)).toBeUndefined();
});

it('the test is repeated if the notes are damaged', async () => {
  const notes = join(folder(), 'notes.json');
  for (const text of ['{', 'null', '[]', '{"x":1}']) {
    writeFileSync(notes, text);
    expect(await findSandboxProblem({ board, notes })).toBeUndefined();
    expect(Object.values(JSON.parse(readFileSync(notes, 'utf8')) as object)).toEqual(['']);
  }
});
