/** Copies of what was built, in a folder that the user named. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { exportFile } from '../export-file.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-export-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const MIB = 1 << 20;

describe('exportFile', () => {
  it('copies a file under its name, replaces an old one, and touches no other file', async () => {
    const [built, out] = [join(root, 'image'), join(root, 'new', 'out')];
    writeFileSync(built, 'image', { mode: 0o444 });
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, 'image'), 'old', { mode: 0o444 });
    const other = join(out, 'other');
    writeFileSync(other, 'of somebody else');
    symlinkSync(other, join(out, 'image.part'));
    expect(await exportFile(built, out)).toBe(join(out, 'image'));
    expect(readFileSync(join(out, 'image'), 'utf8')).toBe('image');
    const missing = join(root, 'missing');
    await expect(exportFile(missing, out)).rejects.toThrow(`cannot copy ${missing} to ${join(out, 'missing')}`);
    expect(readdirSync(out).sort()).toEqual(['image', 'image.part', 'other']);
    expect(readFileSync(other, 'utf8')).toBe('of somebody else');
  });

  it('keeps the mode, and holes', async () => {
    const [disk, out] = [join(root, 'disk'), join(root, 'disks')];
    writeFileSync(disk, Buffer.alloc(MIB, 'start'), { mode: 0o755 });
    truncateSync(disk, 64 * MIB);
    const copied = statSync(await exportFile(disk, out));
    expect([copied.size, copied.mode & 0o777]).toEqual([64 * MIB, 0o755]);
    expect(copied.blocks * 512).toBeLessThanOrEqual(statSync(disk).blocks * 512);
    expect(readFileSync(join(out, 'disk')).equals(readFileSync(disk))).toBe(true);
  });

  it('copies an empty file', async () => {
    const empty = join(root, 'empty');
    writeFileSync(empty, '');
    expect(readFileSync(await exportFile(empty, join(root, 'out')), 'utf8')).toBe('');
  });
});
