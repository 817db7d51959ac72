/**
 * Rock Ridge (IEEE P1282): modes, owners, times, long names, links and devices, in the system use fields of directory
 * records (SUSP, IEEE P1281). The version is that of 1991, which every reader knows; the later one adds only numbers of
 * inodes.
 */
import { modeOf, pathBytes } from '@nodeos/tree';
import { encodeTime, PART, SECTOR, TIMES, writeBoth32 } from './iso-format.js';
import { nameOf, type Node } from './iso-tree.js';

/** Bytes of a `CE` field, which says where the fields continue. */
export const CONTINUATION = 28;
/** Bytes of a field. */
const MAX_FIELD = 255;
const FIELD_HEAD = 4;
/** Text bytes of an `NM` field, and of the components of an `SL` field. */
const MAX_TEXT = MAX_FIELD - FIELD_HEAD - 1;

const IDENTIFIER = 'RRIP_1991A';
const DESCRIPTION = 'THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS';
const SOURCE =
  'PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  ' +
  'SEE PUBLISHER IDENTIFIER IN PRIMARY VOLUME DESCRIPTOR FOR CONTACT INFORMATION.';

/** The fields of an entry in its folder. @throws RangeError for a time or a link that the format cannot hold */
export const childFields = (node: Node): Buffer[] => [
  ...selfFields(node),
  ...nameFields(nameOf(node)),
  ...deviceFields(node),
  ...linkFields(node),
];

/** The fields of the record of a folder itself, or of the one above. */
export const selfFields = (node: Node): Buffer[] => [attributes(node), times(node)];

/** The fields of the root itself, by which readers see that there is Rock Ridge. */
export const rootFields = (self: readonly Buffer[]): Buffer[] => [
  field('SP', Buffer.of(0xbe, 0xef, 0)),
  ...self,
  field(
    'ER',
    Buffer.of(IDENTIFIER.length, DESCRIPTION.length, SOURCE.length, 1),
    Buffer.from(IDENTIFIER + DESCRIPTION + SOURCE),
  ),
];

/**
 * Divides fields into the part that fits into the record and parts for continuation areas, each of at most one sector.
 * Each part but the last leaves room for a `CE` field.
 * @param room bytes in the record
 */
export function divide(fields: readonly Buffer[], room: number): Buffer[] {
  const parts: Buffer[] = [];
  let part: Buffer[] = [];
  let used = 0;
  let rest = fields.reduce((sum, { length }) => sum + length, 0);
  for (const bytes of fields) {
    const capacity = parts.length === 0 ? room : SECTOR;
    if (used + rest > capacity && used + bytes.length > capacity - CONTINUATION) {
      parts.push(Buffer.concat(part));
      [part, used] = [[], 0];
    }
    part.push(bytes);
    used += bytes.length;
    rest -= bytes.length;
  }
  return [...parts, Buffer.concat(part)];
}

/** @param at offset of the continuation area in the image, in bytes */
export function continuation(at: number, length: number): Buffer {
  const bytes = Buffer.alloc(CONTINUATION - FIELD_HEAD);
  writeBoth32(bytes, Math.floor(at / SECTOR), 0);
  writeBoth32(bytes, at % SECTOR, 8);
  writeBoth32(bytes, length, 16);
  return field('CE', bytes);
}

function field(signature: string, ...data: readonly Uint8Array[]): Buffer {
  const length = data.reduce((sum, bytes) => sum + bytes.length, FIELD_HEAD);
  return Buffer.concat([Buffer.from(signature), Buffer.of(length, 1), ...data]);
}

/** The numbers that follow each other in a field, each in both byte orders. */
function numbers(signature: string, ...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 8);
  for (const [index, value] of values.entries()) writeBoth32(bytes, value, index * 8);
  return field(signature, bytes);
}

function attributes({ entry, children }: Node): Buffer {
  const folders = [...children.values()].filter((child) => child.entry.type === 'directory').length;
  return numbers('PX', modeOf(entry), entry.type === 'directory' ? 2 + folders : 1, entry.uid, entry.gid);
}

const times = ({ entry }: Node): Buffer =>
  field('TF', Buffer.of(TIMES.modification), encodeTime(entry.mtime, entry.path));

function nameFields(name: string): Buffer[] {
  const bytes = Buffer.from(name);
  const last = Math.ceil(bytes.length / MAX_TEXT) - 1;
  return Array.from({ length: last + 1 }, (_, index) =>
    field('NM', Buffer.of(index < last ? PART.continues : 0), bytes.subarray(index * MAX_TEXT, (index + 1) * MAX_TEXT)),
  );
}

/**
 * Numbers that fit are written as the low half of a device number, as the specification has it. Others are written as
 * the two halves: Linux reads both.
 */
function deviceFields({ entry: { rdev } }: Node): Buffer[] {
  if (!rdev) return [];
  const [major, minor] = rdev;
  const isSmall = major > 0 && major <= 0xff && minor <= 0xff;
  return [isSmall ? numbers('PN', 0, (major << 8) | minor) : numbers('PN', major, minor)];
}

function linkFields({ entry }: Node): Buffer[] {
  if (entry.type !== 'symlink') return [];
  const { link = '', path } = entry;
  if (link === '' || link.includes('\0')) throw new RangeError(`${path}: a link to ${JSON.stringify(link)}`);
  const groups: Buffer[][] = [];
  let used = Infinity;
  for (const component of components(link)) {
    if (used + component.length > MAX_TEXT) {
      groups.push([]);
      used = 0;
    }
    groups.at(-1)?.push(component);
    used += component.length;
  }
  return groups.map((group, index) => field('SL', Buffer.of(index < groups.length - 1 ? PART.continues : 0), ...group));
}

/** The parts of a target with their flags. A part that is too long for one component is several. */
function components(link: string): Buffer[] {
  const [first = '', ...rest] = link.split('/');
  if (first === '' && link === '/') return [Buffer.of(PART.root, 0)];
  return [first === '' ? [Buffer.of(PART.root, 0)] : component(first), ...rest.map(component)].flat();
}

function component(part: string): Buffer[] {
  if (part === '.') return [Buffer.of(PART.current, 0)];
  if (part === '..') return [Buffer.of(PART.parent, 0)];
  const bytes = pathBytes(part);
  const largest = MAX_TEXT - 2;
  const last = Math.max(0, Math.ceil(bytes.length / largest) - 1);
  return Array.from({ length: last + 1 }, (_, index) => {
    const text = bytes.subarray(index * largest, (index + 1) * largest);
    return Buffer.concat([Buffer.of(index < last ? PART.continues : 0, text.length), text]);
  });
}
