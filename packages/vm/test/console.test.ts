import { readdirSync, readlinkSync, writeSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { boardOf, targetOf } from '@nodeos/targets';
import { expect, it, onTestFinished } from 'vitest';
import { consolePipe } from '../console.js';
import { runMachine } from '../machine.js';

function nameOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return ''; // that of the folder itself
  }
}

/** This process's descriptors of consoles. */
function consoles(): string[] {
  const folder = '/proc/self/fd';
  const links = readdirSync(folder).map((name) => nameOf(join(folder, name)));
  return links.filter((path) => path.includes('/console'));
}

it('a console takes 60,000 bytes, one by one, while nobody reads', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-console-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const pipe = await consolePipe(join(folder, 'pipe'));
  expect(await readdir(folder)).toEqual([]);
  for (let i = 0; i < 60_000; i++) writeSync(pipe.input, 'x');
  pipe.release();
  pipe.release();
  expect(await buffer(pipe.output)).toHaveLength(60_000);
});

it.runIf(process.platform === 'linux')('a machine that is given up before its start leaves no file open', async () => {
  const machine = runMachine({
    board: boardOf(targetOf('x86_64')),
    accelerator: 'tcg',
    memory: '256M',
    cpus: 1,
    publish: [],
    kernel: 'none',
    initramfs: 'none',
    signal: AbortSignal.abort(new Error('given up')),
  });
  await expect(machine).rejects.toThrow('given up');
  await expect.poll(consoles).toEqual([]);
});
