/**
 * Reads ISO 9660 images that are not trusted: with the names and attributes of Rock Ridge if there are any, else with
 * those of Joliet, else with plain names in lower case. Contents are read when they are opened.
 *
 * Not supported: interleaved files and compressed ones (an error when they are opened), sessions after the first one,
 * hard links (each name is a file of its own). Sockets are left out.
 */
import { parsing, type BlockBackend } from '@nodeos/block';
import { typeOf, type Entry, type Tree } from '@nodeos/tree';
import { placesFrom, type ImageReader, type Place } from './image.js';
import { FLAG, PERMISSION_BITS, TYPE_BITS } from './iso-format.js';
import { fieldsOf, ownRecord, recordsOf, type DirectoryRecord } from './iso-reader-records.js';
import { attributesOf, type Attributes } from './iso-reader-rock-ridge.js';
import { chooseVolume, type ReadableVolume } from './iso-reader-volume.js';

const MAX_ENTRIES = 1_000_000;
/** Bytes of a path, which also limit how deep folders are. No system opens longer ones (`PATH_MAX`). */
const MAX_PATH = 4096;

const SOCKET = 0o140000;

/** A record, or several of a file of 4 GiB or more, with its attributes. */
interface Item {
  readonly record: DirectoryRecord;
  readonly attributes: Attributes;
  readonly parts: readonly Place[];
  readonly isFolder: boolean;
}

interface Pending {
  /** Empty for the root. */
  readonly path: string;
  readonly place: Place;
}

/** @throws Error with the code EINVAL if it is no ISO 9660 image or is damaged; `entries` throws the same */
export async function readIso(device: BlockBackend): Promise<ImageReader> {
  const volume = await chooseVolume(parsing(device, 'iso9660'));
  return { format: 'iso9660', label: volume.label, entries: () => entriesOf(volume) };
}

async function* entriesOf(volume: ReadableVolume): Tree {
  const { formatError, size } = volume.input;
  const pending: Pending[] = [{ path: '', place: volume.root }];
  const seen = new Set<number>();
  let [count, read] = [0, 0];
  for (let folder = pending.pop(); folder; folder = pending.pop()) {
    const names = new Set<string>();
    const subject = folder.path === '' ? 'the root' : JSON.stringify(folder.path);
    if (seen.has(folder.place.offset)) throw formatError(`${subject} is another folder too`);
    seen.add(folder.place.offset);
    // Folders do not overlap, so together they are not larger than the device.
    read += folder.place.length;
    if (read > size) throw formatError(`folders of more than ${size} bytes`);
    for await (const item of itemsOf(volume, folder.place, subject)) {
      if (++count > MAX_ENTRIES) throw formatError(`more than ${MAX_ENTRIES} files`);
      const name = nameOf(item, volume);
      // A link and a folder of the same name would lead out of where files are extracted to.
      if (names.has(name)) throw formatError(`${subject} has ${JSON.stringify(name)} twice`);
      names.add(name);
      const path = folder.path === '' ? name : `${folder.path}/${name}`;
      if (Buffer.byteLength(path) > MAX_PATH) throw formatError(`a path of more than ${MAX_PATH} bytes`);
      const entry = entryOf(item, path, volume);
      if (entry) yield entry;
      if (item.isFolder) pending.push({ path, place: item.record.place });
    }
  }
}

/** Joins the records of large files, and finds folders that were moved. */
async function* itemsOf(volume: ReadableVolume, place: Place, subject: string): AsyncGenerator<Item> {
  const { formatError } = volume.input;
  let first: DirectoryRecord | undefined;
  let parts: Place[] = [];
  for await (const record of recordsOf(volume, place, subject)) {
    if (record.flags & FLAG.associated) continue;
    if (first && !first.identifier.equals(record.identifier))
      throw formatError(`${subject} has a file without its last part`);
    first ??= record;
    parts.push(record.place);
    if (record.flags & FLAG.more) continue;
    const item = await itemOf(volume, first, parts, subject);
    if (item) yield item;
    [first, parts] = [undefined, []];
  }
  if (first) throw formatError(`${subject} ends within a file`);
}

/** @returns undefined for a folder that is listed elsewhere */
async function itemOf(
  volume: ReadableVolume,
  record: DirectoryRecord,
  parts: readonly Place[],
  subject: string,
): Promise<Item | undefined> {
  const attributes = await attributesIn(volume, record, subject);
  if (attributes.isMoved) return undefined;
  if (attributes.movedTo === undefined)
    return { record, attributes, parts, isFolder: (record.flags & FLAG.directory) !== 0 };
  const moved = await ownRecord(volume, attributes.movedTo * volume.block, `a folder of ${subject}`);
  const own = await attributesIn(volume, moved, subject);
  const { name } = attributes;
  return {
    record: { ...moved, identifier: record.identifier },
    attributes: { ...own, ...(name === undefined ? {} : { name }) },
    parts: [],
    isFolder: true,
  };
}

async function attributesIn(volume: ReadableVolume, { rest }: DirectoryRecord, subject: string): Promise<Attributes> {
  if (volume.names !== 'rock ridge') return {};
  return attributesOf(await fieldsOf(volume, rest, volume.skip, subject), volume.input, `a file in ${subject}`);
}

/** @throws Error with the code EINVAL for a name that is not safe */
function nameOf({ record, attributes, isFolder }: Item, { names, input }: ReadableVolume): string {
  const name = attributes.name ?? ownName(record.identifier, names === 'joliet', isFolder);
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name))
    throw input.formatError(`a file with the name ${JSON.stringify(name)}`);
  return name;
}

/** Without the version and, in plain names, without the dot that every file has. */
function ownName(identifier: Buffer, isJoliet: boolean, isFolder: boolean): string {
  const even = identifier.subarray(0, identifier.length - (identifier.length % 2));
  const text = isJoliet ? Buffer.from(even).swap16().toString('utf16le') : identifier.toString('latin1').toLowerCase();
  if (isFolder) return text;
  const name = text.replace(/;\d*$/, '');
  return isJoliet ? name : name.replace(/\.$/, '');
}

/** @returns undefined for a socket */
function entryOf(item: Item, path: string, volume: ReadableVolume): Entry | undefined {
  const { record, attributes, parts, isFolder } = item;
  const { formatError } = volume.input;
  const { mode = isFolder ? 0o040755 : 0o100644, uid = 0, gid = 0, mtime = record.time, rdev, link } = attributes;
  if ((mode & TYPE_BITS) === SOCKET && !isFolder) return undefined;
  const type = typeOf(mode);
  if (!type || (type === 'directory') !== isFolder) throw formatError(`${JSON.stringify(path)} has the mode ${mode}`);
  const common = { path, type, mode: mode & PERMISSION_BITS, uid, gid, mtime, size: 0 };
  if (type === 'symlink') {
    if (!link || link.includes('\0')) throw formatError(`${JSON.stringify(path)} links to ${JSON.stringify(link)}`);
    return { ...common, link };
  }
  if (type === 'character-device' || type === 'block-device') return { ...common, rdev: rdev ?? [0, 0] };
  if (type !== 'file') return common;
  const size = parts.reduce((sum, { length }) => sum + length, 0);
  return { ...common, size, open: (offset = 0) => contentOf(item, JSON.stringify(path), volume, offset) };
}

async function* contentOf(
  { record, attributes, parts }: Item,
  subject: string,
  { input }: ReadableVolume,
  from: number,
): AsyncGenerator<Buffer> {
  if (record.isInterleaved) throw input.formatError(`${subject} is interleaved, which is not supported`);
  if (attributes.isCompressed) throw input.formatError(`${subject} is compressed, which is not supported`);
  for (const { offset, length } of placesFrom(parts, from)) yield* input.content(offset, length, subject);
}
