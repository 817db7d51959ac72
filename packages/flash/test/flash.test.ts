/** Writing an image so that the drive is whole or does not boot, on files in place of drives. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { around, file, memory, random, volatile, type BlockBackend } from '@nodeos/block';
import { afterAll, describe, expect, it } from 'vitest';
import { checkCapacity, markPlaces } from '../capacity.js';
import { listLinuxDrives } from '../linux-drives.js';
import { flash } from '../flash.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-flash-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const MIB = 1 << 20;
const POWER_CUTS = 200;
/** Changes to a drive, and flushes, while the image below is written. */
const FLASH_CHANGES = 20;

/** A drive of 32 MiB with something old on it. */
function drive(size = 32 * MIB, filled = size): string {
  const path = join(root, 'drive');
  writeFileSync(path, Buffer.alloc(filled, 0xaa));
  truncateSync(path, size);
  return path;
}

/** An image of 8 MiB: tables at its start, data, a hole, data that ends within a block. */
async function image(): Promise<BlockBackend> {
  const device = memory(8 * MIB + 512);
  for (const [offset, length] of [
    [0, 40_000],
    [2 * MIB + 512, 100_000],
    [8 * MIB, 512],
  ] as const)
    await device.write?.(Buffer.alloc(length, `at ${offset} `), offset);
  return device;
}

async function bytesOf(device: BlockBackend): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size);
  await device.read(bytes, 0);
  return bytes;
}

/** A drive that calls `onWrite` before each write, which may refuse it or say that it is lost. */
function watched(target: BlockBackend, onWrite: (offset: number, length: number) => 'lost' | undefined): BlockBackend {
  return {
    size: target.size,
    read: (into, offset) => target.read(into, offset),
    write: (bytes, offset) => (onWrite(offset, bytes.length) === 'lost' ? undefined : target.write?.(bytes, offset)),
    flush: () => target.flush?.(),
    close: () => target.close(),
  };
}

describe('flashing', () => {
  it('writes the whole image, reads it back, and leaves the rest of the drive but for its end', async () => {
    const [path, source] = [drive(), await image()];
    const target = await file(path);
    const stages: string[] = [];
    const result = await flash(source, target, path, { progress: (stage) => void stages.push(stage) });
    await target.close();
    const bytes = readFileSync(path);
    expect(bytes.subarray(0, source.size).equals(await bytesOf(source))).toBe(true);
    expect(bytes.subarray(source.size, 31 * MIB).every((byte) => byte === 0xaa)).toBe(true);
    expect(bytes.subarray(31 * MIB).every((byte) => byte === 0)).toBe(true);
    expect(result.verified).toBeGreaterThan(140_000);
    expect(new Set(stages)).toEqual(new Set(['written', 'verified']));
  });

  it('does not boot wherever it is cut off', async () => {
    const source = await image();
    for (let cut = 0; ; cut++) {
      const path = drive();
      const inner = await file(path);
      let writes = 0;
      const target = watched(inner, () => {
        if (writes++ === cut) throw new Error('unplugged');
        return undefined;
      });
      const isWhole = await flash(source, target, path).then(
        () => true,
        () => false,
      );
      await inner.close();
      const first = readFileSync(path).subarray(0, 4096);
      if (isWhole) {
        expect(cut).toBeGreaterThan(5);
        break;
      }
      // Before the first write nothing has changed, and what was there is there.
      expect(first.subarray(0, 512).every((byte) => byte === (cut < 1 ? 0xaa : 0))).toBe(true);
    }
  });

  it('leaves the old, the new, or nothing that boots, wherever the power is cut', async () => {
    const [source, old] = [await image(), Buffer.alloc(16 * MIB, 0xaa)];
    const wanted = Buffer.concat([await bytesOf(source), old.subarray(source.size, 15 * MIB), Buffer.alloc(MIB)]);
    const ends = { old: 0, nothing: 0, new: 0 };
    const chance = random(3);
    for (let seed = 0; seed < POWER_CUTS; seed++) {
      const inner = memory(old.length);
      await inner.write?.(old, 0);
      const powered = volatile(inner, seed);
      const at = 1 + Math.floor(chance() * FLASH_CHANGES);
      let changes = 0;
      const target = around(powered, (operation, _offset, _length, work) => {
        if (operation !== 'read' && ++changes === at) void powered.cut();
        return work();
      });
      const isDone = await flash(source, target, 'a drive', { verify: false }).then(
        () => true,
        () => false,
      );
      expect(isDone, `${changes} changes`).toBe(changes < at);
      await powered.cut();
      const bytes = await bytesOf(inner);
      const [first] = bytes;
      const end = first === 0xaa ? 'old' : first === 0 ? 'nothing' : 'new';
      ends[end]++;
      const cut = `seed ${seed}, cut at change ${at}`;
      if (end === 'nothing') expect(bytes.subarray(0, 512).equals(Buffer.alloc(512)), cut).toBe(true);
      else expect(bytes.equals(end === 'old' ? old : wanted), cut).toBe(true);
      if (isDone) expect(end).toBe('new');
    }
    expect(ends.old).toBeGreaterThan(0);
    expect(ends.nothing).toBeGreaterThan(POWER_CUTS / 2);
    expect(ends.new).toBeGreaterThan(0);
  });

  it('finds what the drive has lost, and names the first byte', async () => {
    const [path, source] = [drive(), await image()];
    const inner = await file(path);
    const target = watched(inner, (offset) => (offset >= 2 * MIB && offset < 3 * MIB ? 'lost' : undefined));
    await expect(flash(source, target, path)).rejects.toMatchObject({
      code: 'EIO',
      message: `${path} differs from the image at byte ${2 * MIB}`,
    });
    await inner.close();
  });

  it('refuses a drive that is too small before it changes anything', async () => {
    const path = drive(4 * MIB);
    const target = await file(path);
    await expect(flash(await image(), target, path)).rejects.toMatchObject({ code: 'ENOSPC' });
    await target.close();
    expect(readFileSync(path).every((byte) => byte === 0xaa)).toBe(true);
  });

  it('stops when it is told to, and the drive does not boot', async () => {
    const [path, source] = [drive(), await image()];
    const target = await file(path);
    const stop = new AbortController();
    const progress = (): void => stop.abort(new Error('enough'));
    await expect(flash(source, target, path, { progress, signal: stop.signal })).rejects.toThrow('enough');
    await target.close();
    expect(
      readFileSync(path)
        .subarray(0, 4096)
        .every((byte) => byte === 0),
    ).toBe(true);
  });
});

describe('the check of the capacity', () => {
  it('has marks at the end and at all powers of two', () => {
    expect(markPlaces(16 * MIB)).toEqual([16 * MIB - 4096, 8 * MIB, 4 * MIB, 2 * MIB, MIB]);
  });

  it('trusts an honest drive', async () => {
    const path = drive();
    const target = await file(path);
    await checkCapacity(target, path);
    await target.close();
  });

  it.each([4, 8, 12, 16])('finds a drive of %d MiB that loses what is beyond', async (real) => {
    const path = drive();
    const inner = await file(path);
    const target = watched(inner, (offset) => (offset >= real * MIB ? 'lost' : undefined));
    await expect(checkCapacity(target, path)).rejects.toMatchObject({ code: 'EIO' });
    await inner.close();
  });

  it.each([4, 8, 12, 16])('finds a drive of %d MiB that begins again at its start', async (real) => {
    const path = drive();
    const inner = await file(path);
    const at = (offset: number): number => offset % (real * MIB);
    const target: BlockBackend = {
      ...watched(inner, () => undefined),
      write: (bytes, offset) => inner.write?.(bytes, at(offset)),
    };
    await expect(checkCapacity(target, path)).rejects.toThrow(/does not keep what is written at byte \d+/);
    await inner.close();
  });
});

describe('the list of drives', () => {
  /** Folders like those of the system. */
  function system(files: Readonly<Record<string, string>>): { sys: string; proc: string } {
    const folder = mkdtempSync(join(root, 'system-'));
    const all = { 'proc/self/mountinfo': '', 'proc/swaps': 'Filename Type\n', ...files };
    for (const [path, text] of Object.entries(all)) {
      mkdirSync(join(folder, dirname(path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    return { sys: join(folder, 'sys'), proc: join(folder, 'proc') };
  }
  const stick = (name: string): Record<string, string> => ({
    [`sys/devices/pci0/usb1/block/${name}/size`]: '62521344\n',
    [`sys/devices/pci0/usb1/block/${name}/removable`]: '1\n',
    [`sys/devices/pci0/usb1/block/${name}/ro`]: '0\n',
    [`sys/devices/pci0/usb1/block/${name}/dev`]: '8:16\n',
    [`sys/devices/pci0/usb1/block/${name}/device/vendor`]: 'SanDisk \n',
    [`sys/devices/pci0/usb1/block/${name}/device/model`]: ' Ultra\n',
    [`sys/devices/pci0/usb1/block/${name}/${name}1/dev`]: '8:17\n',
  });
  function withLinks(folders: { sys: string; proc: string }, ...names: string[]): { sys: string; proc: string } {
    mkdirSync(join(folders.sys, 'block'), { recursive: true });
    for (const name of names) symlinkSync(`../devices/pci0/usb1/block/${name}`, join(folders.sys, 'block', name));
    return folders;
  }

  it('says what a drive is', async () => {
    expect(await listLinuxDrives(withLinks(system(stick('sdb')), 'sdb'))).toEqual([
      {
        name: 'sdb',
        path: '/dev/sdb',
        size: 62521344 * 512,
        model: 'SanDisk Ultra',
        bus: 'USB',
        isRemovable: true,
        mounts: [],
        refusals: [],
      },
    ]);
  });

  it('says why a drive must not be overwritten', async () => {
    const folders = withLinks(
      system({
        ...stick('sdb'),
        'sys/devices/pci0/usb1/block/sdb/ro': '1\n',
        'sys/devices/pci0/usb1/block/sdb/sdb1/holders/dm-0/x': '',
        'proc/self/mountinfo':
          '36 35 8:17 / /media/my\\040stick rw - ext4 /dev/sdb1 rw\n37 35 0:40 / /btrfs rw - btrfs /dev/sdb rw\n',
        'proc/swaps': 'Filename Type\n/dev/sdb1 partition 1 2 3\n',
      }),
      'sdb',
    );
    const [found] = await listLinuxDrives(folders);
    expect(found?.refusals).toEqual([
      'it is read-only',
      'sdb is mounted at /btrfs',
      'sdb1 is mounted at /media/my stick',
      'sdb1 is swap',
      'sdb1 is used by dm-0',
    ]);
  });

  it('leaves out empty slots and what is in memory', async () => {
    const files = { ...stick('sdb'), 'sys/devices/pci0/usb1/block/sdb/size': '0\n', 'sys/block/zram0/size': '100\n' };
    expect(await listLinuxDrives(withLinks(system(files), 'sdb'))).toEqual([]);
  });
});
