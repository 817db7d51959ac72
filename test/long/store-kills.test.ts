/** Pushes, commits and collections, killed at 240 random moments; nothing that has a name may be unreadable. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { random } from '@nodeos/block';
import { expect, test } from 'vitest';
import { killing } from '../../packages/store/test/kills.js';

test('a store whose processes are killed 240 times has only whole images', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-store-kills-'));
  const seed = Number(process.env['NODEOS_SEED'] ?? 1);
  try {
    const { kills, read, problems } = await killing(folder, ['push', 'gc', 'commit'], 240, random(seed));
    expect(problems).toEqual([]);
    expect(read).toBeGreaterThan(2 * kills);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
