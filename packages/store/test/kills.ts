/** Processes that change a store, killed at random moments; whatever has a name afterwards must be whole. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { memory } from '@nodeos/block';
import { findImage, folderPlace, imageStore, makeKeys, openImage, push, verify, type Keys } from '@nodeos/store';
import { BLOCK, imageNumber } from './numbered.js';
import type { WritableImageStore } from '@nodeos/store';

export interface Killed {
  readonly kills: number;
  /** Images that were read as a whole after a kill. */
  readonly read: number;
  /** What was wrong. */
  readonly problems: readonly string[];
}

/**
 * Kills `jobs` together, `kills` times. After each, every image that has a name is read and compared with what its name
 * says.
 * @param draw numbers from 0 to 1
 */
export async function killing(
  folder: string,
  jobs: readonly string[],
  kills: number,
  draw: () => number,
): Promise<Killed> {
  const keyPath = join(folder, 'key');
  const root = join(folder, 'store');
  const keys = await makeKeys(keyPath);
  const store = imageStore(folderPlace(root)) as WritableImageStore;
  await push(await imageNumber(memory, 0), store, 'base', { keys, blockSize: BLOCK });
  const problems: string[] = [];
  let read = 0;
  for (let round = 0, next = 1; round < kills; round++, next += 50) {
    const workers = jobs.map((job) =>
      spawn(process.execPath, [join(import.meta.dirname, 'store-worker.js'), job, root, keyPath, String(next)]),
    );
    let said = '';
    for (const { stderr } of workers) stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
    await Promise.all(workers.map((worker) => Promise.race([once(worker.stdout, 'data'), once(worker, 'exit')])));
    await sleep(draw() * 150);
    for (const worker of workers) {
      const isAlive = worker.exitCode === null && worker.signalCode === null;
      if (!isAlive) problems.push(`a worker ended by itself: ${worker.signalCode ?? ''} ${said}`);
      const ended = isAlive ? once(worker, 'exit') : undefined;
      worker.kill('SIGKILL');
      await ended;
    }
    for (const name of await store.names()) {
      problems.push(...(await problemsOf(store, name, keys)));
      read++;
    }
  }
  return { kills, read, problems };
}

async function problemsOf(store: WritableImageStore, name: string, keys: Keys): Promise<string[]> {
  try {
    const image = await findImage(store, name, keys.tenant);
    const { missing, invalid } = await verify(image.recipe, store.chunks, { keys: image.keys });
    const device = await openImage(image, store.chunks);
    const found = Buffer.alloc(device.size);
    await device.read(found, 0);
    const expected = await contentsOf(name);
    return [
      ...missing.map((id) => `${name}: ${id} is missing`),
      ...invalid.map((id) => `${name}: ${id} is wrong`),
      ...(found.equals(expected) ? [] : [`${name}: other bytes`]),
    ];
  } catch (error) {
    return [`${name}: ${String(error)}`];
  }
}

/** `base`, `n7`, or `c7`: the base with a change. */
async function contentsOf(name: string): Promise<Buffer> {
  const number = name === 'base' ? 0 : Number(name.slice(1));
  const device = await imageNumber(memory, name.startsWith('n') ? number : 0);
  if (name.startsWith('c')) await device.write?.(Buffer.alloc(100, number & 255), 3 * BLOCK);
  const bytes = Buffer.alloc(device.size);
  await device.read(bytes, 0);
  return bytes;
}
