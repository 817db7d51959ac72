/** Many processes compete for one lock, and each is killed at a random moment. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { scratch } from './helpers.js';

const path = scratch();
const HOLDER = fileURLToPath(new URL('lock-holder.js', import.meta.url));

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
