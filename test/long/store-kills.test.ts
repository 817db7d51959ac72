/** Pushes, commits and collections, killed at random moments; nothing that has a name may be unreadable. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { random } from '@nodeos/block';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRegistry } from '../../packages/remote/test/registry.js';
import { killing } from '../../packages/store/test/kills.js';
import { killingInRegistry, problemsOf, TAGS } from '../../packages/store/test/registry-kills.js';

const seed = Number(process.env['NODEOS_SEED'] ?? 1);
let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'nodeos-store-kills-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a store whose processes are killed 240 times has only whole images', async () => {
  const { kills, read, problems } = await killing(folder, ['push', 'gc', 'commit'], 240, random(seed));
  expect(problems).toEqual([]);
  expect(read).toBeGreaterThan(2 * kills);
});

test('a registry in which pushes and collections are killed 80 times has only whole images, also after its own collection', async () => {
  const registry = await startRegistry(folder);
  try {
    const url = `oci://${registry.host}/killed`;
    const { problems, ...counts } = await killingInRegistry(url, 80, random(seed));
    const [before, after] = await registry.collect();
    process.stdout.write(`${JSON.stringify({ ...counts, before, after })}\n`);
    expect(problems).toEqual([]);
    for (const tag of TAGS) expect(await problemsOf(url, tag, 0)).toEqual([]);
    expect(counts.deleted).toBeGreaterThan(0);
    expect(after).toBeLessThan(before);
  } finally {
    await registry.close();
  }
});
