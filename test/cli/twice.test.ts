/**
 * Equal inputs give equal bytes. Everything that compiles quickly is built again, in another folder and at another
 * time. npm run test:long builds the rest (the toolchain, the kernel) twice.
 */
import { join } from 'node:path';
import { hashPath } from '@nodeos/engine';
import { expect, it } from 'vitest';
import { cacheWith, LONG, ROOT, start, temporary } from '../support.js';

const LAYERS = ['init', 'runtime', 'usr', 'initramfs', 'initramfs-stream', 'root'];
const FILES = ['init', 'init.js', 'syscalls.node', 'node', 'usr.erofs', 'initramfs', 'initramfs-stream', 'root.erofs'];
const LONG_COMPILED = ['gcc', 'headers', 'binutils', 'musl', 'libraries'].map((name) => `toolchain-${name}`);

async function hashes(env: Record<string, string>): Promise<Record<string, string>> {
  const out = await temporary();
  const words = ['build', ...LAYERS, '--app', join(ROOT, 'examples/hello'), '--out', out];
  const { status, stderr } = await start(words, { env }).ended;
  expect(status, stderr).toBe(0);
  return Object.fromEntries(
    await Promise.all(FILES.map(async (name) => [name, await hashPath(join(out, name))] as const)),
  );
}

it('a system that is rebuilt in another folder has the same bytes', { timeout: LONG }, async () => {
  const first = await hashes({});
  const root = await cacheWith('toolchain', ...LONG_COMPILED);
  expect(
    await hashes({ NODEOS_CACHE: root, TZ: 'Asia/Kolkata', HOME: await temporary(), LANG: 'de_DE.UTF-8' }),
  ).toEqual(first);
});
