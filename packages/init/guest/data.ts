/**
 * The users' data. PID 1 has mounted them; here they are made usable: the application's home is on them, and they grow
 * to the end of their disk. An image has only a small filesystem, because its disk may have any size.
 *
 * Each write leaves either the old table or the new one. Of a GPT, the copy at the disk's end is written first, then the
 * one at its start; an MBR is one sector.
 * https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html
 * https://docs.kernel.org/filesystems/ext4/super.html
 */
import { APP_ID, PATHS } from '@nodeos/contract';
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
/** Bytes of the entries, of which there are 128, and of what follows the last partition: the entries and the header. */
const ENTRIES = 128 * 128;
const TABLE = ENTRIES + SECTOR;
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

/** The functions of zlib that the init uses. It is loaded only by machines whose disk is larger than its data. */
type Crc32 = (bytes: Uint8Array) => number;

/** Prepares the data if the machine has some. @returns a line for the operator if they have grown */
export function prepareData(sys: Syscalls, crc32: Crc32): string | undefined {
  const device = deviceOf(sys);
  if (device === undefined) return undefined;
  useAsHome(sys);
  const place = placeOf(sys, device);
  const length = place ? growPartition(sys, place, crc32) : sizeOf(sys, device);
  if (!growFilesystem(sys, device, length)) return undefined;
  return `${PATHS.data} has grown to ${Math.floor(length / MIB)} MiB`;
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
  const wanted = Math.floor((diskSize - TABLE - start) / MIB) * MIB;
  if (wanted < length + LEAST) return length;
  const fd = sys.open(`/dev/${disk}`, O_RDWR);
  try {
    const table = Buffer.alloc(SECTOR + TABLE);
    sys.readAt(fd, table, 0);
    const mbr = table.subarray(0, SECTOR);
    const larger = { ...place, length: wanted };
    const hasGrown = hasGpt(mbr) ? growInGpt(sys, fd, larger, table, crc32) : growInMbr(sys, fd, larger, mbr);
    if (!hasGrown) return length;
    tellKernel(sys, fd, larger);
    return wanted;
  } finally {
    sys.close(fd);
  }
}

const hasGpt = (mbr: Buffer): boolean => mbr.readUInt8(MBR.table + 4) === MBR.protective;

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

/** @returns whether the table was as expected, and has now the new length */
function growInGpt(sys: Syscalls, fd: number, place: Place, table: Buffer, crc32: Crc32): boolean {
  const { number, start, length, diskSize } = place;
  const [header, entries] = [table.subarray(SECTOR, 2 * SECTOR), table.subarray(2 * SECTOR)];
  if (!isGrowable(header, entries, place, crc32)) return false;
  entries.writeBigUInt64LE(BigInt((start + length) / SECTOR - 1), (number - 1) * 128 + 40);
  const last = diskSize / SECTOR - 1;
  const fields = { last, entriesSum: crc32(entries) };
  sys.writeAt(fd, entries, diskSize - TABLE);
  const backup = headerOf(header, { ...fields, here: last, other: 1, list: last - ENTRIES / SECTOR }, crc32);
  sys.writeAt(fd, backup, last * SECTOR);
  sys.sync(fd);
  const primary = headerOf(header, { ...fields, here: 1, other: last, list: 2 }, crc32);
  sys.writeAt(fd, Buffer.concat([primary, entries]), SECTOR);
  sys.sync(fd);
  return true;
}

/** Whether the table is one of ours, intact, and has nothing behind the partition. */
function isGrowable(header: Buffer, entries: Buffer, { number, start }: Place, crc32: Crc32): boolean {
  const sum = header.readUInt32LE(16);
  const plain = Buffer.from(header.subarray(0, 92));
  plain.writeUInt32LE(0, 16);
  if (header.toString('latin1', 0, 8) !== 'EFI PART' || crc32(plain) !== sum) return false;
  if (header.readBigUInt64LE(72) !== 2n || header.readUInt32LE(80) !== 128 || header.readUInt32LE(84) !== 128)
    return false;
  if (header.readUInt32LE(88) !== crc32(entries)) return false;
  const starts = Array.from({ length: 128 }, (_, index) => entries.readBigUInt64LE(index * 128 + 32));
  return starts[number - 1] === BigInt(start / SECTOR) && starts.every((first) => first <= BigInt(start / SECTOR));
}

/** Sectors of a header, of the other one, of its entries and of the disk's end, and the checksum of the entries. */
interface HeaderFields {
  readonly here: number;
  readonly other: number;
  readonly list: number;
  readonly last: number;
  readonly entriesSum: number;
}

function headerOf(from: Buffer, { here, other, list, last, entriesSum }: HeaderFields, crc32: Crc32): Buffer {
  const header = Buffer.from(from);
  for (const [at, sector] of [
    [24, here],
    [32, other],
    [48, last - TABLE / SECTOR],
    [72, list],
  ] as const)
    header.writeBigUInt64LE(BigInt(sector), at);
  header.writeUInt32LE(entriesSum, 88);
  header.writeUInt32LE(0, 16);
  header.writeUInt32LE(crc32(header.subarray(0, 92)), 16);
  return header;
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
