/** A FAT volume that is not trusted: its boot sector, its FAT, and the bytes of its files. */
import type { Parsing } from '@nodeos/block';
import { CLUSTERS, clusterAt, FIRST_CLUSTER, SECTOR, SLOT, type FatBits, type Layout } from './fat-layout.js';

const SECTOR_SIZES = new Set([512, 1024, 2048, 4096]);
const MAX_CLUSTER_SECTORS = 128;
const FIRST_MEDIA = 0xf8;
const FLOPPY = 0xf0;
/** Bytes of the FAT to read at once, a multiple of the three bytes that two entries of FAT12 share. */
const PAGE = 3 << 12;
const MAX_PAGES = 64;
/** Bytes of a file whose clusters are looked up at once. */
const PIECE = 1 << 20;

export interface Volume extends Layout {
  readonly input: Parsing;
  /** 11 bytes, in the boot sector. */
  readonly label: Buffer;
  /** FAT32 only. */
  readonly rootCluster: number;
  /**
   * The cluster that follows another one; undefined after the last.
   * @throws Error with the code EINVAL if the volume has no such cluster
   */
  readonly next: (cluster: number) => Promise<number | undefined>;
}

/** @throws Error with the code EINVAL if it is no FAT volume, or one that does not lie within its device */
export async function volumeOf(input: Parsing): Promise<Volume> {
  const boot = await input.bytes(0, SECTOR, 'the boot sector');
  const fields = bootFields(boot);
  const problem = problemOf(fields);
  if (problem !== undefined) throw input.formatError(`this is no FAT volume: ${problem}`);
  const { sectorSize, sectors, fatSectors, fats } = fields;
  if (sectors * sectorSize > input.size)
    throw input.formatError(`the volume has ${sectors * sectorSize} bytes, and its device ${input.size}`);
  const [fatAt, fatLength] = [fields.reserved * sectorSize, fatSectors * sectorSize];
  const rootAt = fatAt + fats * fatLength;
  const rootLength = fields.isFat32 ? 0 : fields.rootSlots * SLOT;
  const dataAt = rootAt + Math.ceil(rootLength / sectorSize) * sectorSize;
  const clusterSize = fields.clusterSectors * sectorSize;
  const room = Math.floor((sectors * sectorSize - dataAt) / clusterSize);
  const bits = fields.isFat32 ? 32 : room <= CLUSTERS[12].most ? 12 : 16;
  if (room < 1 || room > CLUSTERS[bits].most) throw input.formatError(`FAT${bits} with ${room} clusters`);
  if (fields.active >= fats) throw input.formatError(`FAT number ${fields.active} of ${fats}`);
  // As for Linux, clusters that the FAT has no entry for do not exist.
  const clusters = Math.min(room, Math.floor((fatLength * 8) / bits) - FIRST_CLUSTER);
  const layout = { bits, clusterSize, fatAt: fatAt + fields.active * fatLength, fatLength, rootAt, rootLength, dataAt, clusters } as const; // prettier-ignore
  const { label, rootCluster } = fields;
  return { ...layout, input, label, rootCluster, next: fatReader(input, layout) };
}

type BootFields = ReturnType<typeof bootFields>;

function bootFields(boot: Buffer) {
  const isFat32 = boot.readUInt16LE(22) === 0;
  const flags = isFat32 ? boot.readUInt16LE(40) : 0;
  return {
    isFat32,
    signature: boot.readUInt16LE(SECTOR - 2),
    sectorSize: boot.readUInt16LE(11),
    clusterSectors: boot.readUInt8(13),
    reserved: boot.readUInt16LE(14),
    fats: boot.readUInt8(16),
    rootSlots: boot.readUInt16LE(17),
    sectors: boot.readUInt16LE(19) || boot.readUInt32LE(32),
    media: boot.readUInt8(21),
    fatSectors: isFat32 ? boot.readUInt32LE(36) : boot.readUInt16LE(22),
    /** The FAT that counts, if they are not all the same. */
    active: (flags & 0x80) === 0 ? 0 : flags & 0xf,
    version: isFat32 ? boot.readUInt16LE(42) : 0,
    rootCluster: isFat32 ? boot.readUInt32LE(44) : 0,
    label: boot.subarray(isFat32 ? 71 : 43, isFat32 ? 82 : 54),
  };
}

function problemOf(fields: BootFields): string | undefined {
  if (fields.signature !== 0xaa55) return 'the boot sector has no signature';
  if (!SECTOR_SIZES.has(fields.sectorSize)) return `sectors of ${fields.sectorSize} bytes`;
  if (!(Number.isInteger(Math.log2(fields.clusterSectors)) && fields.clusterSectors <= MAX_CLUSTER_SECTORS))
    return `clusters of ${fields.clusterSectors} sectors`;
  if (fields.media < FIRST_MEDIA && fields.media !== FLOPPY) return `a medium of the kind ${fields.media}`;
  if (fields.reserved === 0 || fields.fats === 0 || fields.fatSectors === 0) return 'it has no file allocation table';
  if (fields.version !== 0) return `version ${fields.version} of FAT32`;
  return undefined;
}

type Get = (page: Buffer, index: number) => number;

/** Reads the entry with a number from a page of the FAT that starts with an even number. */
const getters: Readonly<Record<FatBits, Get>> = {
  12: (page, index) => {
    const pair = page.readUInt16LE(Math.floor(index * 1.5));
    return index % 2 === 0 ? pair & 0xfff : pair >> 4;
  },
  16: (page, index) => page.readUInt16LE(index * 2),
  32: (page, index) => page.readUInt32LE(index * 4) & 0x0fffffff,
};

/** Keeps a limited number of pages of the FAT. */
function fatReader(input: Parsing, layout: Layout): Volume['next'] {
  const { bits, clusters, fatAt, fatLength } = layout;
  const perPage = (PAGE * 8) / bits;
  const firstEnd = bits === 32 ? 0x0ffffff8 : (1 << bits) - 8;
  const get = getters[bits];
  const pages = new Map<number, Buffer>();

  async function load(number: number): Promise<Buffer> {
    const page = await input.bytes(fatAt + number * PAGE, Math.min(PAGE, fatLength - number * PAGE), 'the FAT');
    const [oldest] = pages.keys();
    if (pages.size >= MAX_PAGES && oldest !== undefined) pages.delete(oldest);
    pages.set(number, page);
    return page;
  }

  return async (cluster) => {
    if (!hasCluster({ clusters }, cluster)) throw input.formatError(`there is no cluster ${cluster}`);
    const number = Math.floor(cluster / perPage);
    const value = get(pages.get(number) ?? (await load(number)), cluster % perPage);
    return value >= firstEnd ? undefined : value;
  };
}

export const hasCluster = ({ clusters }: Pick<Layout, 'clusters'>, cluster: number): boolean =>
  cluster >= FIRST_CLUSTER && cluster < FIRST_CLUSTER + clusters;

/** A folder of clusters, cluster by cluster. @param seen clusters of all folders so far: none may occur again */
export async function* folderBytes(volume: Volume, first: number, seen: Set<number>): AsyncGenerator<Buffer> {
  const { input, clusterSize } = volume;
  for (let cluster: number | undefined = first; cluster !== undefined; cluster = await volume.next(cluster)) {
    if (!hasCluster(volume, cluster)) throw input.formatError(`a folder in cluster ${cluster}, which does not exist`);
    if (seen.has(cluster)) throw input.formatError(`cluster ${cluster} is in two folders, or twice in one`);
    seen.add(cluster);
    yield await input.bytes(clusterAt(volume, cluster), clusterSize, 'a folder');
  }
}

/**
 * The content of a file, in pieces of at most 1 MiB. Clusters after its end are ignored: a file may have more than it
 * needs.
 * @throws Error with the code EINVAL if the chain ends before the file, or has a loop
 */
export async function* fileBytes(
  volume: Volume,
  first: number,
  size: number,
  path: string,
  from: number,
): AsyncGenerator<Buffer> {
  const { input, clusterSize } = volume;
  const follow = loopGuard(volume);
  for (let done = 0, at: number | undefined = first; done < size;) {
    if (at === undefined) throw input.formatError(`${JSON.stringify(path)} ends after ${done} of ${size} bytes`);
    const run: { next: number | undefined; length: number } = { next: at, length: 0 };
    do {
      run.next = await follow(at + run.length / clusterSize);
      run.length += clusterSize;
    } while (run.next === at + run.length / clusterSize && run.length < Math.min(size - done, PIECE));
    const skip = Math.min(Math.max(from - done, 0), run.length);
    const length = Math.min(run.length, size - done) - skip;
    if (length > 0) yield* input.content(clusterAt(volume, at) + skip, length, JSON.stringify(path));
    done += run.length;
    at = run.next;
  }
}

/**
 * `volume.next` for one chain. Finds a loop with Brent's algorithm, which remembers a single cluster: the one after so
 * many steps as the largest power of two so far.
 */
function loopGuard({ input, next }: Volume): Volume['next'] {
  let [steps, power, remembered] = [0, 1, -1];
  return async (cluster) => {
    if (cluster === remembered) throw input.formatError(`a chain of clusters comes back to cluster ${cluster}`);
    if (++steps === power) [power, remembered] = [power * 2, cluster];
    return next(cluster);
  };
}
