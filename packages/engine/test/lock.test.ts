import { mkdir, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { isLocked, withLock } from '../lock.js';
import { namesIn, tempDir } from './helpers.js';

it('a lock admits one holder at a time, reports waiting, and leaves nothing behind', async () => {
  const dir = tempDir();
  const path = join(dir, 'locks', 'a');
  let inside = 0;
  let waits = 0;
  const work = async (): Promise<number> => {
    expect(++inside).toBe(1);
    expect(await isLocked(path)).toBe(true);
    while (waits < 2) await sleep(10);
    return inside--;
  };
  const onWait = (): unknown => waits++;
  const all = await Promise.all([1, 2, 3].map(() => withLock(path, { onWait }, work)));
  expect([all, waits]).toEqual([[1, 1, 1], 2]);
  expect(await isLocked(path)).toBe(false);
  expect(namesIn(join(dir, 'locks'))).toEqual([]);
});

it('a lock is released when the work fails, and waiting ends on abort', async () => {
  const path = join(tempDir(), 'a');
  await expect(withLock(path, {}, () => Promise.reject(new Error('work')))).rejects.toThrow('work');
  await withLock(path, {}, async () => {
    const abort = new AbortController();
    const onWait = (): void => abort.abort(new Error('enough'));
    await expect(withLock(path, { signal: abort.signal, onWait }, () => Promise.resolve())).rejects.toThrow('enough');
  });
});

it('the error says why a lock cannot be made', async () => {
  const file = join(tempDir(), 'file');
  await writeFile(file, '');
  await expect(withLock(join(file, 'a'), {}, () => Promise.resolve())).rejects.toThrow(
    `cannot lock ${join(file, 'a')}`,
  );
});

it('a lost lock does not end the process, and is reported if the work then fails', async () => {
  const path = join(tempDir(), 'a');
  const lose = async (): Promise<void> => {
    await rm(path, { recursive: true });
    await mkdir(path); // now another process holds it
    await utimes(path, 1, 1); // it was not made in the same millisecond
    await sleep(6000); // the lock is checked every two seconds
  };
  const failing = withLock(path, {}, async () => {
    await lose();
    throw new Error('files are gone');
  });
  await expect(failing).rejects.toThrow(/^lost the lock .* to another process .*: files are gone$/);
});
