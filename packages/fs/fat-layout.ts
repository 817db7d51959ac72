/**
 * Where the parts of a FAT volume are, and the sectors that say so.
 * https://uefi.org/specs/UEFI/2.10/13_Protocols_Media_Access.html#file-system-format
 *
 *     reserved sectors   boot sector; of FAT32 also free space, and copies of both from sector 6 on
 *     two FATs           for each cluster the next one of its file
 *     root folder        of FAT12 and FAT16; of FAT32 it is a chain of clusters like any other
 *     clusters           folders and contents, numbered from 2 on
 */
import { roundUp } from '@nodeos/block';

/** Bits of a number of a cluster. */
export type FatBits = 12 | 16 | 32;

/** Offsets and lengths in bytes. */
export interface Layout {
  readonly bits: FatBits;
  readonly clusterSize: number;
  readonly fatAt: number;
  /** Of one FAT. */
  readonly fatLength: number;
  /** Of the root folder of FAT12 and FAT16. */
  readonly rootAt: number;
  readonly rootLength: number;
  readonly dataAt: number;
  /** Number of clusters. */
  readonly clusters: number;
}

export const SECTOR = 512;
export const FATS = 2;
/** Bytes of an entry in a folder. A long name takes several. */
export const SLOT = 32;
/** The format has room for so many slots in a folder. */
export const MAX_SLOTS = 65536;
/** Folders within each other. The format has no limit; readers have, and this one is ours. */
export const MAX_DEPTH = 256;
export const FIRST_CLUSTER = 2;
/** The sector count has 32 bits. */
export const MAX_SIZE = 0xffffffff * SECTOR;
const MEDIA = 0xf8;
const FSINFO_SECTOR = 1;
const BACKUP_SECTOR = 6;
/** FSInfo for a number that is not known. */
const UNKNOWN = 0xffffffff;
const ROOT_SLOTS = { usual: 512, most: 65520 };
const MIB = 1 << 20;
const GIB = 1 << 30;

/** The number of clusters alone tells readers the kind of a volume. */
export const CLUSTERS: Readonly<Record<FatBits, { least: number; most: number }>> = {
  12: { least: 1, most: 4084 },
  16: { least: 4085, most: 65524 },
  32: { least: 65525, most: 0x0ffffff5 },
};

/** Sectors before the FATs, at least. */
const RESERVED: Readonly<Record<FatBits, number>> = { 12: 1, 16: 1, 32: 32 };

/** Windows makes volumes of at least this size FAT32. */
const FAT32_FROM = 512 * MIB;

/** Windows's cluster sizes of FAT32, by the size of the volume. */
const FAT32_CLUSTERS: readonly { to: number; clusterSize: number }[] = [
  { to: 8 * GIB, clusterSize: 4096 },
  { to: 16 * GIB, clusterSize: 8192 },
  { to: 32 * GIB, clusterSize: 16384 },
  { to: Infinity, clusterSize: 32768 },
];

/** Smaller clusters are a last resort, because contents are to start at multiples of 4096. */
const CLUSTER_SIZES = { aligned: [4096, 8192, 16384, 32768], small: [2048, 1024, 512] };

export interface LayoutOptions {
  readonly bits?: FatBits | undefined;
  readonly clusterSize?: number | undefined;
}

/**
 * @param size bytes of the volume
 * @param rootSlots slots that the root folder needs
 * @returns undefined if the options suit no volume of this size
 */
export function layoutFor(size: number, options: LayoutOptions, rootSlots: number): Layout | undefined {
  const { bits, clusterSize } = options;
  const kinds: readonly FatBits[] = bits ? [bits] : size < FAT32_FROM ? [16, 12, 32] : [32, 16, 12];
  const groups = clusterSize ? [[clusterSize]] : [CLUSTER_SIZES.aligned, CLUSTER_SIZES.small];
  for (const sizes of groups)
    for (const kind of kinds)
      for (const each of sizes) {
        if (!clusterSize && sizes === CLUSTER_SIZES.aligned && each < usualClusterSize(kind, size)) continue;
        const layout = layoutOf(size, kind, each, rootSlots);
        if (isValid(layout)) return layout;
      }
  return undefined;
}

const usualClusterSize = (kind: FatBits, size: number): number =>
  (kind === 32 && FAT32_CLUSTERS.find(({ to }) => size <= to)?.clusterSize) || 4096;

const isValid = ({ bits, clusters, rootLength }: Layout): boolean =>
  clusters >= CLUSTERS[bits].least && clusters <= CLUSTERS[bits].most && rootLength <= ROOT_SLOTS.most * SLOT;

/** The reserved sectors are as many as it takes for the clusters to start at a multiple of their size. */
function layoutOf(size: number, bits: FatBits, clusterSize: number, rootSlots: number): Layout {
  const rootLength = bits === 32 ? 0 : roundUp(Math.max(rootSlots, ROOT_SLOTS.usual) * SLOT, SECTOR);
  for (let fatLength = SECTOR; ;) {
    const tables = FATS * fatLength + rootLength;
    const dataAt = roundUp(RESERVED[bits] * SECTOR + tables, clusterSize);
    const clusters = Math.max(0, Math.floor((size - dataAt) / clusterSize));
    const needed = roundUp(((FIRST_CLUSTER + clusters) * bits) / 8, SECTOR);
    if (needed <= fatLength) {
      const [fatAt, rootAt] = [dataAt - tables, dataAt - rootLength];
      return { bits, clusterSize, fatAt, fatLength, rootAt, rootLength, dataAt, clusters };
    }
    fatLength = needed;
  }
}

export const clusterAt = ({ dataAt, clusterSize }: Layout, cluster: number): number =>
  dataAt + (cluster - FIRST_CLUSTER) * clusterSize;

export interface Identity {
  /** Bytes. */
  readonly size: number;
  readonly serial: number;
  /** 11 characters. */
  readonly label: string;
  readonly hiddenSectors: number;
}

/** The reserved sectors. The rest of them is zeros. @param used clusters, which are the first */
export function encodeReserved(layout: Layout, identity: Identity, used: number): Buffer {
  const boot = encodeBoot(layout, identity);
  if (layout.bits !== 32) return boot;
  const third = withSignature(Buffer.alloc(SECTOR));
  const sectors = [boot, encodeFsInfo(layout, used), third];
  const gap = Buffer.alloc((BACKUP_SECTOR - sectors.length) * SECTOR);
  return Buffer.concat([...sectors, gap, ...sectors]);
}

function encodeBoot(layout: Layout, { size, serial, label, hiddenSectors }: Identity): Buffer {
  const { bits, clusterSize, fatAt, fatLength, rootLength } = layout;
  const sectors = size / SECTOR;
  const isShort = bits !== 32 && sectors < 0x10000;
  const boot = Buffer.alloc(SECTOR);
  boot.write('MSWIN4.1', 3); // some systems accept no other name
  boot.writeUInt16LE(SECTOR, 11);
  boot.writeUInt8(clusterSize / SECTOR, 13);
  boot.writeUInt16LE(fatAt / SECTOR, 14);
  boot.writeUInt8(FATS, 16);
  boot.writeUInt16LE(rootLength / SLOT, 17);
  boot.writeUInt16LE(isShort ? sectors : 0, 19);
  boot.writeUInt8(MEDIA, 21);
  boot.writeUInt16LE(bits === 32 ? 0 : fatLength / SECTOR, 22);
  boot.writeUInt16LE(63, 24); // sectors per track and heads, as of any disk of today
  boot.writeUInt16LE(255, 26);
  boot.writeUInt32LE(hiddenSectors, 28);
  boot.writeUInt32LE(isShort ? 0 : sectors, 32);
  if (bits === 32) {
    boot.writeUInt32LE(fatLength / SECTOR, 36);
    boot.writeUInt32LE(FIRST_CLUSTER, 44); // the root folder
    boot.writeUInt16LE(FSINFO_SECTOR, 48);
    boot.writeUInt16LE(BACKUP_SECTOR, 50);
  }
  const at = bits === 32 ? 64 : 36;
  boot.writeUInt8(0x80, at); // a hard disk
  boot.writeUInt8(0x29, at + 2); // three fields follow
  boot.writeUInt32LE(serial, at + 3);
  boot.write(label, at + 7);
  boot.write(`FAT${bits}   `, at + 18);
  const code = at + 26;
  boot.set([0xeb, code - 2, 0x90], 0);
  boot.set([0xcd, 0x18, 0xeb, 0xfe], code); // tells the BIOS that there is nothing to boot, and waits
  return withSignature(boot);
}

function encodeFsInfo({ clusters }: Layout, used: number): Buffer {
  const info = Buffer.alloc(SECTOR);
  info.writeUInt32LE(0x41615252, 0);
  info.writeUInt32LE(0x61417272, 484);
  info.writeUInt32LE(clusters - used, 488);
  info.writeUInt32LE(used < clusters ? FIRST_CLUSTER + used : UNKNOWN, 492);
  return withSignature(info);
}

function withSignature(sector: Buffer): Buffer {
  sector.writeUInt16LE(0xaa55, SECTOR - 2);
  return sector;
}

/** The FAT up to the last used cluster. @param chains lengths in clusters of chains that follow each other */
export function encodeFat(bits: FatBits, chains: readonly number[]): Buffer {
  const count = FIRST_CLUSTER + chains.reduce((sum, length) => sum + length, 0);
  const fat = Buffer.alloc(Math.ceil((count * bits) / 8));
  const end = bits === 32 ? 0x0fffffff : (1 << bits) - 1;
  const put = putters[bits];
  put(fat, 0, end - 0xff + MEDIA);
  put(fat, 1, end); // no errors, and shut down cleanly
  let cluster = FIRST_CLUSTER;
  for (const length of chains)
    for (let last = cluster + length - 1; cluster <= last; cluster++)
      put(fat, cluster, cluster === last ? end : cluster + 1);
  return fat;
}

type Put = (fat: Buffer, cluster: number, value: number) => void;

/** Two entries of FAT12 share three bytes. */
const putters: Readonly<Record<FatBits, Put>> = {
  12: (fat, cluster, value) => {
    const at = Math.floor(cluster * 1.5);
    const [low, high] = cluster % 2 === 0 ? [value & 0xff, value >> 8] : [(value & 0xf) << 4, value >> 4];
    fat.writeUInt8(fat.readUInt8(at) | low, at);
    fat.writeUInt8(high, at + 1);
  },
  16: (fat, cluster, value) => void fat.writeUInt16LE(value, cluster * 2),
  32: (fat, cluster, value) => void fat.writeUInt32LE(value, cluster * 4),
};
