/**
 * The users' data. PID 1 has mounted them; here they are made usable: the application's home is on them, and they grow
 * to the end of their disk. An image has only a small filesystem, because its disk may have any size.
 *
 * Each write leaves either the old table or the new one, or a GPT that can be repaired (gpt.ts); an MBR is one sector.
 * https://docs.kernel.org/filesystems/ext4/super.html
 */
import { APP_ID, PATHS } from '@nodeos/contract';
import { GPT_TABLE, growInGpt, repairGpt, type Crc32 } from './gpt.js';
import type { Syscalls } from './syscalls.js';

const SECTOR = 512;
const MIB = 1 << 20;
const O_RDONLY = 0;
const O_RDWR = 2;
const MS_BIND = 4096;
/** linux/blkpg.h */
const BLKPG = 0x1269;
const BLKPG_RESIZE_PARTITION = 3;
/** _IOW('f', 16, __u64) */
const EXT4_IOC_RESIZE_FS = 0x40086610;
/** An MBR: where its four entries are, and their fields for the first sector and the number of sectors. */
const MBR = { table: 446, entry: 16, entries: 4, first: 8, count: 12, protective: 0xee } as const;
const MAX_UINT32 = 0xffffffff;
/** Less room than this is not worth a change. */
const LEAST = MIB;

/** A partition and its disk. */
interface Place {
  readonly disk: string;
  readonly number: number;
  /** Bytes from the start of the disk. */
  readonly start: number;
  readonly length: number;
  readonly diskSize: number;
}

/**
 * Prepares the data if the machine has some. @param crc32 called, and so loaded, only if a table is read
 * @returns a line for the operator if they have grown
 */
export function prepareData(sys: Syscalls, crc32: Crc32): string | undefined {
  const device = deviceOf(sys);
  if (device === undefined) return undefined;
  useAsHome(sys);
  const place = placeOf(sys, device);
  const length = place ? growPartition(sys, place, crc32) : sizeOf(sys, device);
  if (!growFilesystem(sys, device, length)) return undefined;
  return `${PATHS.data} has grown to ${Math.floor(length / MIB)} MiB`;
}

/**
 * Repairs the disk's table if a power cut has torn it. The kernel makes no partitions of such a disk, and PID 1 has set up
 * a loop device over the data; the next boot has partitions again. @returns a line for the operator if it did
 */
export function repairTable(sys: Syscalls, crc32: Crc32): string | undefined {
  const loop = deviceOf(sys)?.replace('/dev/', '') ?? '';
  const backing = `/sys/class/block/${loop}/loop/backing_file`;
  if (!sys.exists(backing)) return undefined;
  const disk = sys.readLine(backing);
  const fd = sys.open(disk, O_RDWR);
  try {
    if (!hasGpt(mbrOf(sys, fd)) || !repairGpt(sys, fd, sizeOf(sys, disk), crc32)) return undefined;
    return `${disk}: its partition table was torn, and has been repaired from the copy at its end`;
  } finally {
    sys.close(fd);
  }
}

/** The device that is mounted as the data. */
function deviceOf(sys: Syscalls): string | undefined {
  const mounts = sys.read('/proc/mounts').toString().split('\n');
  return mounts.map((line) => line.split(' ')).find(([, target]) => target === PATHS.data)?.[0];
}

function useAsHome(sys: Syscalls): void {
  const home = `${PATHS.data}/home`;
  sys.mkdir(home, 0o755);
  for (const path of [PATHS.data, home]) {
    const fd = sys.open(path, O_RDONLY);
    sys.chown(fd, APP_ID, APP_ID);
    sys.close(fd);
  }
  sys.mount(home, PATHS.home, '', MS_BIND, '');
}

const sizeOf = (sys: Syscalls, device: string): number =>
  Number(sys.read(`/sys/class/block/${device.replace('/dev/', '')}/size`).toString()) * SECTOR;

/** @returns undefined if it is no partition but a whole disk */
function placeOf(sys: Syscalls, device: string): Place | undefined {
  const name = device.replace('/dev/', '');
  const folder = `/sys/class/block/${name}`;
  if (!sys.exists(`${folder}/partition`)) return undefined;
  const number = (path: string): number => Number(sys.read(path).toString());
  // …/block/vda/vda3
  const disk = sys.readLink(folder).split('/').at(-2) ?? '';
  return {
    disk,
    number: number(`${folder}/partition`),
    start: number(`${folder}/start`) * SECTOR,
    length: number(`${folder}/size`) * SECTOR,
    diskSize: number(`/sys/class/block/${disk}/size`) * SECTOR,
  };
}

/** Enlarges the partition if it is the last one and there is room. @returns its length in bytes */
function growPartition(sys: Syscalls, place: Place, crc32: Crc32): number {
  const { disk, start, length, diskSize } = place;
  // Behind an MBR's last partition there is no table, but so little room that it does not matter.
  const wanted = Math.floor((diskSize - GPT_TABLE - start) / MIB) * MIB;
  if (wanted < length + LEAST) return length;
  const fd = sys.open(`/dev/${disk}`, O_RDWR);
  try {
    const mbr = mbrOf(sys, fd);
    const larger = { ...place, length: wanted };
    const hasGrown = hasGpt(mbr) ? growInGpt(sys, fd, larger, crc32) : growInMbr(sys, fd, larger, mbr);
    if (!hasGrown) return length;
    tellKernel(sys, fd, larger);
    return wanted;
  } finally {
    sys.close(fd);
  }
}

function mbrOf(sys: Syscalls, fd: number): Buffer {
  const mbr = Buffer.alloc(SECTOR);
  sys.readAt(fd, mbr, 0);
  return mbr;
}

/** In a hybrid table the protective entry may be any of them. */
const hasGpt = (mbr: Buffer): boolean =>
  Array.from({ length: MBR.entries }, (_, index) => mbr.readUInt8(MBR.table + index * MBR.entry + 4)).includes(
    MBR.protective,
  );

/** @returns whether the table was as expected, and has now the new length */
function growInMbr(sys: Syscalls, fd: number, { number, start, length }: Place, mbr: Buffer): boolean {
  const first = start / SECTOR;
  const starts = Array.from({ length: MBR.entries }, (_, index) =>
    mbr.readUInt32LE(MBR.table + index * MBR.entry + MBR.first),
  );
  if (mbr.readUInt16LE(SECTOR - 2) !== 0xaa55 || length / SECTOR > MAX_UINT32) return false;
  if (starts[number - 1] !== first || starts.some((other) => other > first)) return false;
  mbr.writeUInt32LE(length / SECTOR, MBR.table + (number - 1) * MBR.entry + MBR.count);
  sys.writeAt(fd, mbr, 0);
  sys.sync(fd);
  return true;
}

/** The kernel keeps the old size until it is told: it does not read the table of a disk that is in use. */
function tellKernel(sys: Syscalls, fd: number, { number, start, length }: Place): void {
  const partition = Buffer.alloc(152);
  partition.writeBigInt64LE(BigInt(start), 0);
  partition.writeBigInt64LE(BigInt(length), 8);
  partition.writeInt32LE(number, 16);
  const request = Buffer.alloc(24);
  request.writeInt32LE(BLKPG_RESIZE_PARTITION, 0);
  request.writeInt32LE(partition.length, 8);
  request.writeBigUInt64LE(BigInt(sys.addressOf(partition)), 16);
  sys.ioctl(fd, BLKPG, request);
}

/** Also after a boot that ended between both. @returns whether it was smaller than `length` bytes */
function growFilesystem(sys: Syscalls, device: string, length: number): boolean {
  const disk = sys.open(device, O_RDONLY);
  const superblock = Buffer.alloc(1024);
  sys.readAt(disk, superblock, 1024);
  sys.close(disk);
  const blockSize = 1024 << superblock.readUInt32LE(24);
  const blocks = superblock.readUInt32LE(4) + superblock.readUInt32LE(0x150) * 2 ** 32;
  const wanted = Math.floor(length / blockSize);
  if ((wanted - blocks) * blockSize < LEAST) return false;
  const argument = Buffer.alloc(8);
  argument.writeBigUInt64LE(BigInt(wanted));
  const fd = sys.open(PATHS.data, O_RDONLY);
  sys.ioctl(fd, EXT4_IOC_RESIZE_FS, argument);
  sys.close(fd);
  return true;
}
