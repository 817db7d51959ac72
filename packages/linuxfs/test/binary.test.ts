import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it, onTestFinished, vi } from 'vitest';
import { findKernel, kindOf } from '../binary.js';

const folder = await mkdtemp(join(tmpdir(), 'linuxfs-binary-'));
afterAll(() => rm(folder, { recursive: true }));

/** A file of 128 bytes with something in it. */
async function fileWith(name: string, text: string, at: number, address = 0n): Promise<string> {
  const bytes = Buffer.alloc(128);
  bytes.write(text, at, 'latin1');
  bytes.writeBigInt64LE(address, 80);
  await writeFile(join(folder, name), bytes);
  return join(folder, name);
}

it('tells programs, kernels of x86-64 and images for arm64 apart', async () => {
  expect(await kindOf(await fileWith('program', '\x7fELF', 0, 0x6000_0000n))).toBe('program');
  expect(await kindOf(await fileWith('vmlinux', '\x7fELF', 0, -0x7f00_0000n))).toBe('x86_64');
  expect(await kindOf(await fileWith('Image', 'ARM\x64', 56))).toBe('aarch64');
});

it('refuses other files, and short ones', async () => {
  await expect(kindOf(await fileWith('zeros', '', 0))).rejects.toThrow('zeros is no kernel');
  await writeFile(join(folder, 'empty'), '');
  await expect(kindOf(join(folder, 'empty'))).rejects.toThrow('empty is no kernel');
});

it('says which file cannot be read', async () => {
  await expect(findKernel(join(folder, 'none'))).rejects.toThrow(/none is no kernel that can be started/);
});

it('takes an empty variable for none', async () => {
  vi.stubEnv('NODEOS_LINUXFS_KERNEL', '');
  onTestFinished(() => void vi.unstubAllEnvs());
  await expect(findKernel()).rejects.toThrow(/the kernel is in the package @nodeos\/linuxfs/);
});
