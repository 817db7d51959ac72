/** The unpacked size of our own archives, of archives from GNU cpio and lz4, and of invalid files. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { directory, file, symlink, writeCpio } from '@nodeos/tree';
import { afterAll, expect, it } from 'vitest';
import { appendEntries, secretEntries } from '../append.js';
import { unpackedSize } from '../unpacked.js';

const folder = mkdtempSync(join(tmpdir(), 'nodeos-unpacked-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const KIB = 1024;

async function archive(name: string, ...files: readonly number[]): Promise<string> {
  const path = join(folder, name);
  const entries = files.map((size, index) => file(`d/${index}`, Buffer.alloc(size, 1)));
  await writeCpio([directory('d'), symlink('l', 'd'), ...entries], path);
  return path;
}

it('counts pages for each file and link, and an inode for every entry', async () => {
  expect(await unpackedSize(await archive('small', 0, 1, 4096, 4097))).toBe((6 + 4 + 4 + 4 + 8) * KIB);
  expect(await unpackedSize(await archive('large', 300 * KIB, 1, 70 * KIB))).toBe((5 + 4 + 300 + 4 + 72) * KIB);
});

it('adds up several appended archives', async () => {
  const path = join(folder, 'appended');
  await appendEntries(await archive('first', 5000), secretEntries('x'), path);
  expect(await unpackedSize(path)).toBe((3 + 4 + 8 + 2 + 4) * KIB);
});

it('reads an archive of GNU cpio, which is padded with zeros', async () => {
  const path = join(folder, 'gnu');
  writeFileSync(join(folder, 'content'), Buffer.alloc(10 * KIB, 1));
  writeFileSync(path, execFileSync('cpio', ['-o', '-H', 'newc', '--quiet'], { cwd: folder, input: 'content\n' }));
  expect(await unpackedSize(path)).toBe(13 * KIB);
  appendFileSync(path, readFileSync(await archive('behind', 1)));
  expect(await unpackedSize(path)).toBe((13 + 3 + 4 + 4) * KIB);
});

it('counts a compressed archive in blocks of 8 MiB', async () => {
  const path = await archive('plain', 5000);
  execFileSync('lz4', ['-l', '-q', await archive('big', 9 << 20), join(folder, 'big.lz4')]);
  appendFileSync(path, readFileSync(join(folder, 'big.lz4')));
  expect(await unpackedSize(path)).toBe((3 + 4 + 8) * KIB + (16 << 20));
});

it.each([
  ['something else', Buffer.from('PK\x03\x04'.repeat(100)), 'byte 0 is not known'],
  ['numbers that are none', Buffer.from(`070701${'g'.repeat(104)}`), 'byte 0 is not known'],
  ['a block that is cut off', Buffer.from([0x02, 0x21, 0x4c, 0x18, 1, 0]), 'byte 4 is not known'],
])('rejects %s', async (_, bytes, why) => {
  const path = join(folder, 'none');
  writeFileSync(path, bytes);
  await expect(unpackedSize(path)).rejects.toThrow(why);
});
