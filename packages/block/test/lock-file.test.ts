/** Many processes compete for one lock, and each is killed at a random moment. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { lockFile } from '../index.js';
import { scratch } from './helpers.js';

const path = scratch();
const HOLDER = fileURLToPath(new URL('lock-holder.js', import.meta.url));
const KEEPER = fileURLToPath(new URL('lock-keeper.js', import.meta.url));

/** @returns how often the process had the lock before it was killed, some time after the first time */
async function held(...words: string[]): Promise<number> {
  const holder = spawn(process.execPath, [HOLDER, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(holder, 'close');
  let takes = 0;
  holder.stdout.on('data', (dots: Buffer) => (takes += dots.length));
  await Promise.race([once(holder.stdout, 'data'), exit]);
  await sleep(Math.random() * 50);
  holder.kill('SIGKILL');
  expect(await exit).toEqual([null, 'SIGKILL']);
  return takes;
}

it('is held by one process at a time, however often its owner dies', async () => {
  const words = [path('lock'), path('owner')];
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let deaths = 0; deaths < 15; deaths++) expect(await held(...words)).toBeGreaterThan(0);
    }),
  );
}, 300_000);

it('is free once its owner has ended, even if nobody asks how', async () => {
  const kept = path('kept');
  // `sleep` is the parent then, and does not wait for its children.
  const parent = spawn('sh', ['-c', '"$0" "$@" & exec sleep 60', process.execPath, KEEPER, kept], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void parent.kill('SIGKILL'));
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const owner = Number(String(line));
  await expect(lockFile(kept)).rejects.toMatchObject({ code: 'EBUSY' });
  process.kill(owner, 'SIGKILL');
  while (!/^State:\s+Z[^]*^Threads:\s+1$/m.test(readFileSync(`/proc/${owner}/status`, 'utf8'))) await sleep(5);
  await (
    await lockFile(kept)
  )();
});
