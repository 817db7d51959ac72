/**
 * Describes trees as ISO 9660 images, which firmware boots and every system reads. The description is a list of
 * regions: the contents of files of this machine are not copied.
 * ECMA-119: https://ecma-international.org/publications-and-standards/standards/ecma-119/
 * El Torito 1.0, and UEFI 13.3.2: https://uefi.org/specs/UEFI/2.10/13_Protocols_Media_Access.html
 *
 *     byte 0       free, for a table of partitions and boot code
 *     byte 32768   volume descriptors: primary, El Torito, Joliet, the end of the list
 *     …            the boot catalog, path tables of both volumes in both byte orders
 *     …            folders of the primary volume with Rock Ridge, continuation areas, folders of the Joliet volume
 *     …            contents, each from the start of a sector (2048 bytes)
 *
 * The same contents have three kinds of names: of the primary volume (30 characters, upper case), of Rock Ridge (any
 * name of 255 bytes, with modes, owners, times, links and devices) and of Joliet (64 units of UCS-2; links and devices
 * are empty files there). Linux cuts names of 254 and 255 bytes.
 *
 * Folders are as deep as the tree. ECMA-119 allows 8 levels, and Rock Ridge can move deeper ones for readers that insist;
 * none that are in use do. A file of 4 GiB or more has several records (level 3).
 *
 * Not supported: hard links, extended attributes, emulated disks, multiple sessions.
 */
import { roundUp, type Region } from '@nodeos/block';
import type { Entry, Tree } from '@nodeos/tree';
import { heldContent, sourceOf } from './entry-content.js';
import type { Image, Place } from './image.js';
import {
  encodeFolders,
  encodePathTable,
  foldersOf,
  pathTableSize,
  placeFolders,
  type Folder,
} from './iso-directory.js';
import { encodeBootRecord, encodeCatalog, type Boot } from './iso-eltorito.js';
import { SECTOR, SYSTEM_AREA } from './iso-format.js';
import { jolietNames, primaryNames } from './iso-names.js';
import { byPath, hasContent, takePlaces, treeOf, type Node } from './iso-tree.js';
import { encodeTerminator, encodeVolume, MAX_LABEL, type Volume } from './iso-volume.js';

export interface IsoOptions {
  /** At most 32 characters of ASCII. Joliet has the first 16. */
  readonly label: string;
  /** Files whose contents are in the image already, by path. Offsets are multiples of 2048. */
  readonly places?: ReadonlyMap<string, Place>;
  /** Where the contents of all other files begin, in bytes; a multiple of 2048. Default: behind the folders. */
  readonly contentAt?: number;
  /** Where descriptors and folders must end, in bytes. Default: `contentAt`. */
  readonly limit?: number;
  /** Images that firmware boots, which are in the image already. */
  readonly boot?: Boot;
  /** Of the volume, in seconds since 1970. A time before 1980 becomes 1980-01-01. Default 0. */
  readonly time?: number;
  /** Bytes of the whole image. Default: up to the end of the last content, place or boot image. */
  readonly size?: number;
}

export interface IsoImage extends Image {
  /** Where the contents of all files are, by path. That of an empty file is at byte 0. */
  readonly places: ReadonlyMap<string, Place>;
}

/** Sectors have numbers of 32 bits. */
const MAX_SIZE = 2 ** 32 * SECTOR;

/** Where the parts of an image begin, in bytes. */
interface Layout {
  readonly primary: Volume;
  readonly joliet: Volume;
  /** Undefined if nothing boots. */
  readonly catalog: number | undefined;
  readonly end: number;
}

/**
 * Describes an image. The same tree gives the same bytes, in any order of its entries. A repeated entry replaces the
 * earlier one, and missing folders are made. The regions are what the format itself needs and the contents of files
 * without a place.
 * @throws RangeError for a name, a time or a number that the format cannot hold, for a file whose content does not have
 * its stated size, for an entry below something that is not a folder, for places that are not free, and if the folders
 * do not end before the limit, with the number of bytes that they need
 */
export async function iso(tree: Tree | Iterable<Entry>, options: IsoOptions): Promise<IsoImage> {
  checkOptions(options);
  const root = await treeOf(tree);
  const files = allNodes(root).filter(({ entry }) => entry.type === 'file');
  takePlaces(files, options.places ?? new Map());
  const own = files.filter((node) => hasContent(node) && node.place.length === 0);
  const layout = layOut(root, options.boot);
  checkLimit(layout.end, options);
  const start = options.contentAt ?? layout.end;
  const end = placeContents(own, start);
  checkFree(files, own, [SYSTEM_AREA, layout.end], [start, end]);
  const size = sizeOf(
    [...files.map(({ place }) => place), ...bootImages(options.boot)],
    Math.max(layout.end, end),
    options,
  );
  const metadata = encode(layout, options, size);
  const contents = await Promise.all(own.map(contentRegion));
  return {
    regions: [{ offset: SYSTEM_AREA, length: metadata.length, source: metadata }, ...contents],
    size,
    places: new Map(files.map(({ entry, place }) => [entry.path, place])),
  };
}

function checkOptions({ label, contentAt = 0, limit = Infinity, size = 0 }: IsoOptions): void {
  if (label.length > MAX_LABEL || !/^[ -~]+$/.test(label))
    throw new RangeError(`the label ${JSON.stringify(label)}: 1 to ${MAX_LABEL} characters of ASCII are possible`);
  if (contentAt % SECTOR !== 0)
    throw new RangeError(`contents at byte ${contentAt}, which is no multiple of ${SECTOR}`);
  if (!(limit >= 0 && size >= 0)) throw new RangeError('a negative number of bytes');
}

/** All nodes in an order that depends on their names only. */
function allNodes(root: Node): Node[] {
  const all = [root];
  for (const node of all) all.push(...node.children.values());
  return all.sort(byPath);
}

function layOut(root: Node, boot: Boot | undefined): Layout {
  const primary = foldersOf(root, { names: primaryNames, hasRockRidge: true });
  const joliet = foldersOf(root, { names: jolietNames, hasRockRidge: false });
  const hasBoot = bootImages(boot).length > 0;
  let at = SYSTEM_AREA;
  const take = (length: number): number => {
    const start = at;
    at = roundUp(at + length, SECTOR);
    return start;
  };
  take(3 * SECTOR + (hasBoot ? SECTOR : 0)); // the descriptors
  const catalog = hasBoot ? take(SECTOR) : undefined;
  const volume = (folders: readonly Folder[], isJoliet: boolean): Volume => {
    const size = pathTableSize(folders);
    return { folders, isJoliet, little: take(size), big: take(size) };
  };
  const volumes = { primary: volume(primary, false), joliet: volume(joliet, true) };
  return { ...volumes, catalog, end: placeFolders(joliet, placeFolders(primary, at)) };
}

const bootImages = (boot: Boot = {}): Place[] => [boot.bios, boot.efi].filter((place) => place !== undefined);

function checkLimit(end: number, { limit, contentAt }: IsoOptions): void {
  const last = Math.min(limit ?? Infinity, contentAt ?? Infinity);
  if (end > last) throw new RangeError(`descriptors and folders need ${end} bytes, and there are ${last}`);
}

/** @returns the end in bytes */
function placeContents(nodes: readonly Node[], start: number): number {
  let end = start;
  for (const node of nodes) {
    node.place = { offset: end, length: node.entry.size };
    end = roundUp(end + node.entry.size, SECTOR);
  }
  return end;
}

/** @param taken ranges that no place may overlap, each from its start to its end */
function checkFree(
  files: readonly Node[],
  own: readonly Node[],
  ...taken: readonly (readonly [number, number])[]
): void {
  const isOwn = new Set(own);
  for (const node of files) {
    if (isOwn.has(node) || !hasContent(node)) continue;
    const { offset, length } = node.place;
    const range = taken.find(([from, to]) => offset < to && offset + length > from);
    if (range) throw new RangeError(`${node.entry.path}: bytes ${range.join(' to ')} of the image are not free`);
  }
}

/** @throws RangeError for a size before the end of what is in the image, and for one that the format cannot hold */
function sizeOf(places: readonly Place[], end: number, { size }: IsoOptions): number {
  const needed = places.reduce((last, { offset, length }) => Math.max(last, offset + length), end);
  const whole = size ?? roundUp(needed, SECTOR);
  if (whole < needed) throw new RangeError(`an image of ${whole} bytes whose contents end at byte ${needed}`);
  if (whole > MAX_SIZE) throw new RangeError(`an image of ${whole} bytes: ISO 9660 has room for ${MAX_SIZE}`);
  return whole;
}

/** The descriptors and the folders. */
function encode({ primary, joliet, catalog, end }: Layout, options: IsoOptions, size: number): Buffer {
  const image = Buffer.alloc(end);
  const info = { label: options.label, size, time: options.time ?? 0 };
  // El Torito asks for the second place.
  const descriptors = [
    encodeVolume(primary, info),
    ...(catalog === undefined ? [] : [encodeBootRecord(catalog)]),
    encodeVolume(joliet, info),
    encodeTerminator(),
  ];
  Buffer.concat(descriptors).copy(image, SYSTEM_AREA);
  if (catalog !== undefined) encodeCatalog(options.boot ?? {}).copy(image, catalog);
  for (const { folders, little, big } of [primary, joliet]) {
    encodePathTable(folders, true).copy(image, little);
    encodePathTable(folders, false).copy(image, big);
    encodeFolders(folders, image);
  }
  return image.subarray(SYSTEM_AREA);
}

async function contentRegion({ entry, place }: Node): Promise<Region> {
  const source = (await heldContent(entry)) ?? sourceOf(entry, 0);
  return { ...place, source };
}
