/**
 * Describes trees as FAT volumes, which every firmware and every system reads: EFI system partitions, boot partitions,
 * configuration drives. The description is a list of regions: contents are not copied, and free space is a hole.
 * See fat-layout.ts for the layout, and fat-slots.ts for folders.
 *
 * Folders come first, then files, each in one piece and in the order of their paths.
 *
 * FAT has no owners and no modes: those of the entries are dropped. Times are UTC, even seconds from 1980 to 2107.
 */
import { createHash } from 'node:crypto';
import { roundUp, type Region } from '@nodeos/block';
import type { Entry, Tree } from '@nodeos/tree';
import { heldContent, sourceOf } from './entry-content.js';
import {
  clusterAt,
  CLUSTERS,
  encodeFat,
  encodeReserved,
  FATS,
  FIRST_CLUSTER,
  layoutFor,
  MAX_SIZE,
  SECTOR,
  type FatBits,
  type Layout,
} from './fat-layout.js';
import { labelOf } from './fat-names.js';
import { ATTRIBUTES, encodeLongName, encodeSlot, paddedName } from './fat-slots.js';
import { bytesNeeded, fatTree, hasLongName, inOrder, lengthOf, slotsOf, type FatNode } from './fat-tree.js';
import type { Image, Place } from './image.js';

const LABEL_LENGTH = 11;
const NO_LABEL = 'NO NAME';
const MAX_UINT32 = 0xffffffff;
const CLUSTER_LIMITS = { least: SECTOR, most: 32768 };
const MIB = 1 << 20;

interface FatKindOptions {
  /** Default: as usual for the size. */
  readonly bits?: FatBits;
  /**
   * Bytes: a power of two from 512 to 32768. Default: as usual for the size, but at least 4096 unless `bits` needs more
   * clusters than there are of this size.
   */
  readonly clusterSize?: number;
}

export interface FatOptions extends FatKindOptions {
  /** Bytes of the volume: a multiple of 512. */
  readonly size: number;
  /** At most 11 characters of ASCII; stored in upper case. Default: none. */
  readonly label?: string;
  /** The volume's number, 32 bits. Default: derived from the label and from the names and sizes of the files. */
  readonly serial?: number;
  /** Sectors of 512 bytes before the volume on its disk. Default 0. */
  readonly hiddenSectors?: number;
}

export interface FatSizeOptions extends FatKindOptions {
  /** Bytes to leave free for other files. Default 0. */
  readonly free?: number;
}

export interface FatImage extends Image {
  /**
   * The content of each file by its path. With clusters of 4096 bytes and more it starts at a multiple of 4096; an empty
   * file has no place of its own, and the offset 0.
   */
  readonly places: ReadonlyMap<string, Place>;
}

/**
 * Describes a volume. The same tree gives the same bytes, in any order of its entries. A repeated entry replaces the
 * earlier one, and missing folders are made. The content of files of this machine stays where it is; all other content
 * is held in memory.
 * @throws RangeError for options that suit no volume, for what the format cannot hold, for a volume without enough room,
 * and for a file whose content does not have its stated size
 */
export async function fat(tree: Tree | Iterable<Entry>, options: FatOptions): Promise<FatImage> {
  checkOptions(options);
  const { size, label = '', hiddenSectors = 0 } = options;
  const volumeLabel = label && labelOf(label);
  const root = await fatTree(tree);
  const layout = layoutOf(options, root);
  const nodes = inClusters(root, layout);
  const chains = place(nodes, layout, size);
  const { serial = serialOf(root, volumeLabel) } = options;
  const identity = { size, serial, label: (volumeLabel || NO_LABEL).padEnd(LABEL_LENGTH), hiddenSectors };
  const files = nodes.filter((node) => !isFolder(node));
  return {
    size,
    places: new Map(files.map((node) => [node.entry.path, placeOf(node, layout)])),
    regions: [
      bytesRegion(0, encodeReserved(layout, identity, sum(chains))),
      ...fatRegions(layout, encodeFat(layout.bits, chains)),
      ...folderRegions(root, root, layout, volumeLabel),
      ...(await Promise.all(files.map((node) => fileRegion(node, layout)))).filter(({ length }) => length > 0),
    ],
  };
}

/**
 * The smallest size of a volume for a tree, in bytes: a multiple of 1 MiB. The tree is read, its contents are not.
 * @throws RangeError for what the format cannot hold, and for options that suit no volume of that size or above
 */
export async function fatSizeFor(tree: Tree | Iterable<Entry>, options: FatSizeOptions = {}): Promise<number> {
  const { free = 0 } = options;
  checkOptions({ ...options, size: MIB });
  const root = await fatTree(tree);
  const contents = sum(inOrder(root).map(lengthOf)) + free;
  const { bits = 32, clusterSize = CLUSTER_LIMITS.most } = options;
  const largest = Math.min(MAX_SIZE, 2 * CLUSTERS[bits].most * clusterSize);
  for (let size = roundUp(contents, MIB) || MIB; size <= largest;) {
    const layout = layoutFor(size, options, slotsOf(root));
    const lacking = layout ? bytesNeeded(inClusters(root, layout), layout.clusterSize) + free - roomOf(layout) : MIB;
    if (lacking <= 0) return size;
    // Volumes from 512 MiB on have smaller clusters than those just below.
    size = Math.min(size + roundUp(lacking, MIB), size < 512 * MIB ? 512 * MIB : Infinity);
  }
  throw new RangeError(`no FAT${options.bits ?? ''} volume has room for ${contents} bytes with these options`);
}

function checkOptions({ size, clusterSize, serial = 0, hiddenSectors = 0 }: Omit<FatOptions, 'label'>): void {
  if (!(Number.isInteger(size / SECTOR) && size > 0 && size <= MAX_SIZE))
    throw new RangeError(`a FAT volume of ${size} bytes: a multiple of ${SECTOR} up to ${MAX_SIZE} is needed`);
  const { least, most } = CLUSTER_LIMITS;
  if (
    clusterSize !== undefined &&
    !(Number.isInteger(Math.log2(clusterSize)) && clusterSize >= least && clusterSize <= most)
  )
    // prettier-ignore
    throw new RangeError(`clusters of ${clusterSize} bytes: a power of two from ${least} to ${most} is needed`);
  for (const [what, value] of Object.entries({ serial, hiddenSectors }))
    if (!(Number.isInteger(value) && value >= 0 && value <= MAX_UINT32))
      throw new RangeError(`${what} ${value}: an integer of 32 bits is needed`);
}

function layoutOf(options: FatOptions, root: FatNode): Layout {
  const layout = layoutFor(options.size, options, slotsOf(root));
  if (layout) return layout;
  const { size, bits = '', clusterSize } = options;
  const clusters = clusterSize === undefined ? '' : ` with clusters of ${clusterSize} bytes`;
  throw new RangeError(
    `a volume of ${size} bytes cannot be FAT${bits}${clusters}: choose another size, or fewer options`,
  );
}

/** The nodes that are stored in clusters, in their order: folders first. The root of FAT12 and FAT16 has its own place. */
function inClusters(root: FatNode, { bits }: Layout): FatNode[] {
  const nodes = inOrder(root).filter((node) => node !== root || bits === 32);
  return [...nodes.filter(isFolder), ...nodes.filter((node) => !isFolder(node))];
}

const isFolder = ({ entry }: FatNode): boolean => entry.type === 'directory';

/** Sets the first cluster of each node. @returns the numbers of clusters. @throws RangeError if there is too little room */
function place(nodes: readonly FatNode[], layout: Layout, size: number): number[] {
  const { clusterSize } = layout;
  const [needed, room] = [bytesNeeded(nodes, clusterSize), roomOf(layout)];
  if (needed > room)
    throw new RangeError(
      `the files need ${needed} bytes in clusters of ${clusterSize}, and a FAT volume of ${size} bytes has room for ${room}: make it larger, or its clusters smaller`,
    );
  let next = FIRST_CLUSTER;
  return nodes.map((node) => {
    const count = Math.ceil(lengthOf(node) / clusterSize);
    if (count > 0) node.cluster = next;
    next += count;
    return count;
  });
}

/** Bytes. */
const roomOf = ({ clusters, clusterSize }: Layout): number => clusters * clusterSize;

function placeOf(node: FatNode, layout: Layout): Place {
  return { offset: node.cluster === 0 ? 0 : clusterAt(layout, node.cluster), length: lengthOf(node) };
}

function serialOf(root: FatNode, label: string): number {
  const files = inOrder(root).map(({ entry }) => [entry.path, entry.size]);
  return createHash('sha256')
    .update(JSON.stringify([label, files]))
    .digest()
    .readUInt32LE();
}

const fatRegions = ({ fatAt, fatLength }: Layout, fat: Buffer): Region[] =>
  Array.from({ length: FATS }, (_, index) => bytesRegion(fatAt + index * fatLength, fat));

function folderRegions(folder: FatNode, parent: FatNode, layout: Layout, label: string): Region[] {
  const offset = folder.cluster === 0 ? layout.rootAt : clusterAt(layout, folder.cluster);
  const folders = [...folder.children.values()].filter(isFolder);
  const bytes = encodeFolder(folder, parent, label);
  return [
    ...(bytes.length > 0 ? [bytesRegion(offset, bytes)] : []),
    ...folders.flatMap((child) => folderRegions(child, folder, layout, '')),
  ];
}

/** The label is in the root, which has no entries for itself and its parent. Elsewhere the parent root is cluster 0. */
function encodeFolder(folder: FatNode, parent: FatNode, label: string): Buffer {
  const { mtime } = folder.entry;
  const common = { attributes: ATTRIBUTES.directory, size: 0 };
  const slots: Buffer[] = [];
  if (label !== '')
    slots.push(encodeSlot({ ...common, attributes: ATTRIBUTES.label, name: label.padEnd(LABEL_LENGTH), mtime, cluster: 0 })); // prettier-ignore
  if (folder !== parent) {
    const up = parent.name === '' ? 0 : parent.cluster;
    slots.push(encodeSlot({ ...common, name: '.'.padEnd(LABEL_LENGTH), mtime, cluster: folder.cluster }));
    slots.push(encodeSlot({ ...common, name: '..'.padEnd(LABEL_LENGTH), mtime: parent.entry.mtime, cluster: up }));
  }
  for (const node of folder.children.values()) slots.push(...encodeNode(node));
  return Buffer.concat(slots);
}

function encodeNode(node: FatNode): Buffer[] {
  const { entry, cluster } = node;
  const name = paddedName(node.short);
  const [attributes, size] = isFolder(node) ? [ATTRIBUTES.directory, 0] : [ATTRIBUTES.archive, entry.size];
  return [
    ...(hasLongName(node) ? encodeLongName(node.name, name) : []),
    encodeSlot({ name, attributes, mtime: entry.mtime, cluster, size }),
  ];
}

async function fileRegion(node: FatNode, layout: Layout): Promise<Region> {
  const { offset, length } = placeOf(node, layout);
  return { offset, length, source: length === 0 ? 'zeros' : ((await heldContent(node.entry)) ?? sourceOf(node.entry, 0)) }; // prettier-ignore
}

const bytesRegion = (offset: number, bytes: Buffer): Region => ({ offset, length: bytes.length, source: bytes });

const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0);
