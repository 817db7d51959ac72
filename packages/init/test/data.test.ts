/** The users' data: what happens to the partition table of a machine's disk, write by write. */
import { crc32 } from 'node:zlib';
import { memory, partitions, regions, type Partition } from '@nodeos/block';
import { gpt, GPT_TYPES, guidOf, mbr, MBR_TYPES } from '@nodeos/fs';
import { describe, expect, it } from 'vitest';
import { prepareData, repairTable } from '../guest/data.js';
import { Recorder } from './recorder.js';

const MIB = 1 << 20;
const id = (number: number): string => guidOf(Buffer.alloc(16, number));
/** Data of 8 MiB, from 4 MiB on. */
const [START, LENGTH, SMALL] = [4 * MIB, 8 * MIB, 13 * MIB];
const superblock = (bytes: number): Buffer => {
  const block = Buffer.alloc(2048);
  block.writeUInt32LE(bytes / 4096, 1024 + 4);
  block.writeUInt32LE(2, 1024 + 24);
  return block;
};

/** A machine with an image for a disk of 13 MiB on a larger disk. */
async function machine(
  diskSize: number,
  more: { readonly last?: boolean; readonly filesystem?: number; readonly kind?: 'gpt' | 'mbr' } = {},
) {
  const data = { type: GPT_TYPES.linux, id: id(2), name: 'data', offset: START, length: LENGTH };
  const other = { type: GPT_TYPES.linux, id: id(3), name: 'b', offset: START + LENGTH, length: MIB / 2 };
  const wanted = more.last === false ? [data, other] : [data];
  const bytes = Buffer.alloc(diskSize);
  if (more.kind === 'mbr')
    bytes.set(mbr({ id: 7, partitions: wanted.map((place) => ({ ...place, type: MBR_TYPES.linux })) }));
  else
    await regions(gpt({ size: SMALL, id: id(1), partitions: wanted }), { size: SMALL }).read(
      bytes.subarray(0, SMALL),
      0,
    );
  const sys = new Recorder({
    '/proc/mounts': 'rootfs / rootfs rw 0 0\n/dev/vda1 /data ext4 rw 0 0\n',
    '/sys/class/block/vda1': '../../devices/pci0000:00/virtio1/block/vda/vda1',
    '/sys/class/block/vda1/partition': '1\n',
    '/sys/class/block/vda1/start': `${START / 512}\n`,
    '/sys/class/block/vda1/size': `${LENGTH / 512}\n`,
    '/sys/class/block/vda/size': `${diskSize / 512}\n`,
  });
  sys.disks.set('/dev/vda', bytes);
  sys.disks.set('/dev/vda1', superblock(more.filesystem ?? LENGTH));
  return { sys, bytes };
}

async function tableOf(bytes: Buffer): Promise<Partition[]> {
  const disk = memory(bytes.length);
  await disk.write?.(bytes, 0);
  return partitions(disk);
}

describe("a machine's data", () => {
  it('grow to the end of a larger disk, in an order that survives a power cut', async () => {
    const { sys, bytes } = await machine(100 * MIB);
    expect(prepareData(sys, crc32)).toBe('/data has grown to 95 MiB');
    expect(sys.linesOf('writeAt', 'sync', 'ioctl').map((line) => line.replace(/(ioctl \S+ \S+).*/, '$1'))).toEqual([
      `writeAt 12 16384 ${100 * MIB - 33 * 512}`,
      `writeAt 12 512 ${100 * MIB - 512}`,
      'sync 12',
      'writeAt 12 16896 512',
      'sync 12',
      'ioctl 12 0x1269',
      'ioctl 14 0x40086610',
    ]);
    expect(await tableOf(bytes)).toMatchObject([{ name: 'data', offset: START, length: 95 * MIB }]);
    bytes.fill(0, 512, 34 * 512);
    expect(await tableOf(bytes)).toMatchObject([{ name: 'data', offset: START, length: 95 * MIB }]);
  });

  it('are found whole wherever the power is cut', async () => {
    for (let cut = 0; ; cut++) {
      const { sys, bytes } = await machine(100 * MIB);
      let writes = 0;
      const writeAt = sys.writeAt.bind(sys);
      sys.writeAt = (fd, from, offset) => {
        if (writes++ === cut) throw new Error('the power is cut');
        writeAt(fd, from, offset);
      };
      const run = (): unknown => prepareData(sys, crc32);
      if (cut === 3) {
        run();
        break;
      }
      expect(run).toThrow('the power is cut');
      expect(await tableOf(bytes)).toMatchObject([{ name: 'data', offset: START, length: LENGTH }]);
      sys.writeAt = writeAt;
      expect(run()).toBe('/data has grown to 95 MiB');
      expect(await tableOf(bytes)).toMatchObject([{ name: 'data', length: 95 * MIB }]);
    }
  });

  describe('in a torn table, of which the kernel makes no partitions', () => {
    const DISK = 100 * MIB;
    const SAID = '/dev/vda: its partition table was torn, and has been repaired from the copy at its end';
    /** A machine whose data are on a loop device. Of the table at the start, one sector is as before they have grown. */
    async function torn(sector: number): Promise<{ sys: Recorder; bytes: Buffer }> {
      const { bytes } = await machine(DISK);
      const { sys: grown, bytes: larger } = await machine(DISK);
      prepareData(grown, crc32);
      bytes.copy(larger, sector * 512, sector * 512, (sector + 1) * 512);
      const sys = new Recorder({
        '/proc/mounts': 'rootfs / rootfs rw 0 0\n/dev/loop1 /data ext4 rw 0 0\n',
        '/sys/class/block/loop1/loop/backing_file': '/dev/vda\n',
        '/sys/class/block/loop1/size': `${LENGTH / 512}\n`,
        '/sys/class/block/vda/size': `${DISK / 512}\n`,
      });
      sys.disks.set('/dev/vda', larger);
      sys.disks.set('/dev/loop1', superblock(LENGTH));
      return { sys, bytes: larger };
    }

    it.each([1, 2])('are found again by the next boot: sector %d is old', async (sector) => {
      const { sys, bytes } = await torn(sector);
      expect(repairTable(sys, crc32)).toBe(SAID);
      expect(sys.linesOf('writeAt', 'sync')).toEqual(['writeAt 10 16896 512', 'sync 10']);
      bytes.fill(0, DISK - 33 * 512);
      expect(await tableOf(bytes)).toMatchObject([{ name: 'data', offset: START, length: 95 * MIB }]);
      expect(repairTable(sys, crc32)).toBeUndefined();
    });

    it('stay as they are if the table at the end is damaged as well, or is another one', async () => {
      const { sys, bytes } = await torn(2);
      for (let bit = 0; bit < 92 * 8; bit++) {
        const [at, mask] = [DISK - 512 + (bit >> 3), 1 << (bit & 7)];
        bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at);
        expect(repairTable(sys, crc32)).toBeUndefined();
        bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at);
      }
      bytes.fill(0, 512, 1024); // a disk with larger sectors has nothing there
      expect(repairTable(sys, crc32)).toBeUndefined();
      expect(sys.linesOf('writeAt')).toEqual([]);
    });
  });

  it('grow on a card with an MBR, by one write of one sector', async () => {
    const { sys, bytes } = await machine(100 * MIB, { kind: 'mbr' });
    expect(prepareData(sys, crc32)).toBe('/data has grown to 95 MiB');
    expect(sys.linesOf('writeAt')).toEqual(['writeAt 12 512 0']);
    expect(await tableOf(bytes)).toMatchObject([{ number: 1, offset: START, length: 95 * MIB }]);
  });

  it('stay on a card with an MBR if something is behind them, or if there is no table', async () => {
    const { sys } = await machine(100 * MIB, { kind: 'mbr', last: false });
    expect(prepareData(sys, crc32)).toBeUndefined();
    const { sys: other, bytes } = await machine(100 * MIB, { kind: 'mbr' });
    bytes.fill(0, 510, 512);
    expect(prepareData(other, crc32)).toBeUndefined();
    expect([...sys.linesOf('writeAt'), ...other.linesOf('writeAt')]).toEqual([]);
  });

  it('grow also if only their partition has grown before', async () => {
    const { sys } = await machine(START + LENGTH + MIB, { filesystem: 2 * MIB });
    expect(prepareData(sys, crc32)).toBe('/data has grown to 8 MiB');
    expect(sys.linesOf('writeAt')).toEqual([]);
    expect(sys.linesOf('ioctl')).toEqual(['ioctl 13 0x40086610 0008']);
  });

  it('stay as they are if there is no room, or something behind them', async () => {
    for (const { sys } of [await machine(SMALL), await machine(100 * MIB, { last: false })]) {
      expect(prepareData(sys, crc32)).toBeUndefined();
      expect(sys.linesOf('writeAt', 'ioctl')).toEqual([]);
    }
  });

  it('do not grow by a table that is damaged, not even a little', async () => {
    const { sys, bytes } = await machine(20 * MIB);
    for (let bit = 0; bit < 92 * 8; bit++) {
      const [at, mask] = [512 + (bit >> 3), 1 << (bit & 7)];
      bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at);
      expect(prepareData(sys, crc32)).toBeUndefined();
      bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at);
    }
    expect(sys.linesOf('writeAt')).toEqual([]);
    expect(prepareData(sys, crc32)).toBe('/data has grown to 15 MiB');
  });

  it("have the application's home, also on a machine with a whole disk for them", () => {
    const sys = new Recorder({
      '/proc/mounts': '/dev/vdb /data ext4 rw 0 0\n',
      '/sys/class/block/vdb/size': `${LENGTH / 512}\n`,
    });
    sys.disks.set('/dev/vdb', superblock(LENGTH));
    expect(prepareData(sys, crc32)).toBeUndefined();
    expect(sys.linesOf('mkdir', 'mount', 'chown')).toEqual([
      'mkdir /data/home 755',
      'chown 10 1000 1000',
      'chown 11 1000 1000',
      'mount /home/app /data/home  4096 ',
    ]);
  });

  it('are none on a machine without them', () => {
    const sys = new Recorder();
    expect(prepareData(sys, crc32)).toBeUndefined();
    expect(sys.trace).toEqual([]);
  });
});
