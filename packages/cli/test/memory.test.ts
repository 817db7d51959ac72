import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '@nodeos/base';
import { file, writeCpio } from '@nodeos/tree';
import { afterAll, describe, expect, it } from 'vitest';
import { checkMemory, enoughMemory, leastMemory } from '../memory.js';

const folder = mkdtempSync(join(tmpdir(), 'nodeos-memory-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the memory that a system needs', () => {
  // Sizes of initramfs and contents in MiB, then the memory that was too little and enough in boots under software
  // emulation.
  it.each([
    [50.1, 50.2, 141, 145],
    [100.1, 100.2, 243, 247],
    [250.1, 250.2, 552, 556],
  ])(
    'with %s MiB of initramfs and %s MiB of contents is above %s and at most %s',
    (archive, contents, failed, worked) => {
      const least = leastMemory({ archive, contents });
      expect(least).toBeGreaterThan(failed);
      expect(least).toBeLessThanOrEqual(worked);
      expect(enoughMemory({ archive, contents })).toBeGreaterThanOrEqual(worked);
    },
  );
});

describe('a machine', () => {
  it('with too little memory is refused with a recommendation', async () => {
    const path = join(folder, 'initramfs');
    await writeCpio([file('asset', Buffer.alloc(60 << 20))], path);
    await expect(checkMemory('128M', path)).rejects.toThrow(UsageError);
    await expect(checkMemory('128M', path)).rejects.toThrow(
      '128M of memory are too little: the initramfs has 60 MiB, and what is in it takes 60 MiB more',
    );
    await expect(checkMemory('128M', path)).rejects.toMatchObject({
      hint: expect.stringContaining('--memory 176M') as string,
    });
    await checkMemory('176M', path);
  });

  it('is left to its kernel if the initramfs is of another kind', async () => {
    const path = join(folder, 'other');
    writeFileSync(path, 'another kind');
    await checkMemory('64M', path);
  });
});
