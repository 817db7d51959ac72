/** Folders and path tables of a volume (ECMA-119 6.8, 6.9, 9.1, 9.4). A volume is the same tree with its own names. */
import { pieces, roundUp } from '@nodeos/block';
import { encodeTime, FLAG, PARENT, RECORD_HEAD, SECTOR, SELF, writeBoth16, writeBoth32 } from './iso-format.js';
import { childFields, continuation, divide, rootFields, selfFields } from './iso-rock-ridge.js';
import { byPath, type Node } from './iso-tree.js';

/** Bytes of a record: the largest even number that its length field holds. */
const MAX_RECORD = 254;
/** Bytes of a part of a file. A record has 32 bits for the length, and all parts but the last are whole sectors. */
const MAX_EXTENT = 2 ** 32 - SECTOR;
/** The path table has 16 bits for the number of a folder. */
const MAX_FOLDERS = 65_535;

export interface VolumeKind {
  /** The identifiers of the nodes in one folder, in the order of their records. */
  readonly names: (nodes: readonly Node[]) => Map<Node, Buffer>;
  readonly hasRockRidge: boolean;
}

export interface Folder {
  readonly node: Node;
  readonly identifier: Buffer;
  readonly parent: Folder | undefined;
  /** Position in the path table, from 1 on. */
  readonly number: number;
  readonly records: Record[];
  /** Rock Ridge fields of the folder as such, which the folders in it have too. */
  readonly fields: readonly Buffer[];
  /** Offset in the image in bytes. */
  at: number;
  /** Bytes. */
  size: number;
}

interface Record {
  readonly identifier: Buffer;
  readonly node: Node;
  /** What the record points at: a folder, or a part of the content of the node. */
  readonly target: () => Folder | Part;
  /** Rock Ridge fields: those in the record, and those in continuation areas. */
  readonly fields: readonly Buffer[];
  /** Offsets of the continuation areas in bytes. */
  areas: readonly number[];
  readonly isLast: boolean;
}

interface Part {
  readonly at: number;
  readonly size: number;
}

/**
 * The folders of a volume in the order of the path table: by level, then by the folder above, then by name.
 * @throws RangeError for more folders than the format can number, and for what Rock Ridge cannot hold
 */
export function foldersOf(root: Node, kind: VolumeKind): Folder[] {
  const all: Folder[] = [];
  const add = (node: Node, identifier: Buffer, parent?: Folder): Folder => {
    const folder: Folder = {
      node,
      identifier,
      parent,
      number: all.length + 1,
      records: [],
      fields: kind.hasRockRidge ? selfFields(node) : [],
      at: 0,
      size: 0,
    };
    all.push(folder);
    return folder;
  };
  add(root, SELF);
  for (const folder of all) {
    if (all.length > MAX_FOLDERS) throw new RangeError(`ISO 9660 has room for ${MAX_FOLDERS} folders`);
    folder.records.push(...ownRecords(folder, kind));
    for (const [node, identifier] of kind.names([...folder.node.children.values()].sort(byPath))) {
      const fields = kind.hasRockRidge ? childFields(node) : [];
      const targets = node.entry.type === 'directory' ? [folderTarget(add(node, identifier, folder))] : partsOf(node);
      for (const target of targets)
        folder.records.push(recordOf(node, identifier, target, fields, target === targets.at(-1)));
    }
  }
  return all;
}

/** The records of the folder itself and of the one above. */
function ownRecords(folder: Folder, { hasRockRidge }: VolumeKind): Record[] {
  const { node, fields, parent = folder } = folder;
  const own = hasRockRidge && parent === folder ? rootFields(fields) : fields;
  return [
    recordOf(node, SELF, () => folder, own, true),
    recordOf(parent.node, PARENT, () => parent, parent.fields, true),
  ];
}

const folderTarget =
  (folder: Folder): Record['target'] =>
  () =>
    folder;

/** The parts of a file, which its place is not needed for yet. */
function partsOf(node: Node): (() => Part)[] {
  if (node.entry.size === 0) return [() => ({ at: 0, size: 0 })];
  return [...pieces(0, node.entry.size, MAX_EXTENT)].map(([from, size]) => () => ({
    at: node.place.offset + from,
    size,
  }));
}

function recordOf(
  node: Node,
  identifier: Buffer,
  target: Record['target'],
  fields: readonly Buffer[],
  isLast: boolean,
): Record {
  const room = MAX_RECORD - fieldsAt(identifier);
  return { identifier, node, target, isLast, fields: divide(fields, room), areas: [] };
}

/** Offset of the system use fields in a record, which is even. */
const fieldsAt = (identifier: Buffer): number => roundUp(RECORD_HEAD + identifier.length, 2);

const recordLength = ({ identifier, fields: [own, ...areas] }: Record): number =>
  roundUp(fieldsAt(identifier) + (own?.length ?? 0) + (areas.length > 0 ? CE_LENGTH : 0), 2);

const CE_LENGTH = continuation(0, 0).length;

/** A record or an area lies within one sector. @returns where the next one goes */
const withinSector = (at: number, length: number): number =>
  (at % SECTOR) + length > SECTOR ? roundUp(at, SECTOR) : at;

/** Sets where all folders are, and behind them their continuation areas. @returns the end in bytes */
export function placeFolders(folders: readonly Folder[], start: number): number {
  let end = start;
  for (const folder of folders) {
    folder.at = end;
    for (const record of folder.records) end = withinSector(end, recordLength(record)) + recordLength(record);
    end = roundUp(end, SECTOR);
    folder.size = end - folder.at;
  }
  for (const record of folders.flatMap(({ records }) => records))
    record.areas = record.fields.slice(1).map(({ length }, index, areas) => {
      const whole = length + (index < areas.length - 1 ? CE_LENGTH : 0);
      const at = withinSector(end, whole);
      end = at + whole;
      return at;
    });
  return roundUp(end, SECTOR);
}

/** Writes all folders with their continuation areas. @param image the bytes from the start of the image on */
export function encodeFolders(folders: readonly Folder[], image: Buffer): void {
  for (const folder of folders) {
    let at = folder.at;
    for (const record of folder.records) {
      const bytes = encodeRecord(record);
      at = withinSector(at, bytes.length);
      bytes.copy(image, at);
      at += bytes.length;
      for (const [index, area] of record.areas.entries()) fieldsOf(record, index + 1).copy(image, area);
    }
  }
}

/** The record of the root that volume descriptors have: 34 bytes, without Rock Ridge. */
export const encodeRoot = (root: Folder): Buffer => encodeRecord(recordOf(root.node, SELF, () => root, [], true));

function encodeRecord(record: Record): Buffer {
  const { identifier, node, target, isLast } = record;
  const bytes = Buffer.alloc(recordLength(record));
  const { at, size } = target();
  const isFolder = node.entry.type === 'directory';
  bytes.writeUInt8(bytes.length, 0);
  writeBoth32(bytes, at / SECTOR, 2);
  writeBoth32(bytes, size, 10);
  encodeTime(node.entry.mtime, node.entry.path).copy(bytes, 18);
  bytes.writeUInt8((isFolder ? FLAG.directory : 0) | (isLast ? 0 : FLAG.more), 25);
  writeBoth16(bytes, 1, 28);
  bytes.writeUInt8(identifier.length, 32);
  identifier.copy(bytes, RECORD_HEAD);
  fieldsOf(record, 0).copy(bytes, fieldsAt(identifier));
  return bytes;
}

/** One part of the fields, with where the next part is. */
function fieldsOf({ fields, areas }: Record, index: number): Buffer {
  const own = fields[index] ?? Buffer.alloc(0);
  const [next, at] = [fields[index + 1], areas[index]];
  if (!next || at === undefined) return own;
  return Buffer.concat([own, continuation(at, next.length + (index + 2 < fields.length ? CE_LENGTH : 0))]);
}

/** Bytes of a path table. */
export const pathTableSize = (folders: readonly Folder[]): number =>
  folders.reduce((sum, { identifier }) => sum + 8 + roundUp(identifier.length, 2), 0);

/** @param isLittle whether numbers have their least significant byte first */
export function encodePathTable(folders: readonly Folder[], isLittle: boolean): Buffer {
  return Buffer.concat(
    folders.map(({ identifier, at, parent, number }) => {
      const bytes = Buffer.alloc(8 + roundUp(identifier.length, 2));
      bytes.writeUInt8(identifier.length, 0);
      if (isLittle) {
        bytes.writeUInt32LE(at / SECTOR, 2);
        bytes.writeUInt16LE(parent?.number ?? number, 6);
      } else {
        bytes.writeUInt32BE(at / SECTOR, 2);
        bytes.writeUInt16BE(parent?.number ?? number, 6);
      }
      identifier.copy(bytes, 8);
      return bytes;
    }),
  );
}
