/**
 * Extended attributes in EROFS: behind the inode, or, if several files have the same one, once for all of them.
 * https://erofs.docs.kernel.org/en/latest/core_ondisk.html#extended-attributes
 */
import { roundUp } from '@nodeos/block';
import { compareNames, pathBytes, type Entry } from '@nodeos/tree';

/** The kinds of names that the format has, each with its number. The first one that matches counts. */
const PREFIXES: readonly (readonly [prefix: string, index: number, isWhole: boolean])[] = [
  ['user.', 1, false],
  ['system.posix_acl_access', 2, true],
  ['system.posix_acl_default', 3, true],
  ['trusted.', 4, false],
  ['security.', 6, false],
];
/** The kernel's XATTR_NAME_MAX, and what 16 bits hold, in bytes. */
const [MAX_NAME, MAX_VALUE] = [255, 0xffff];
const HEADER = 12;
const UNIT = 4;
/** In 8 bits. */
const MAX_SHARED = 255;
/** In units behind the header, in 16 bits. */
const MAX_UNITS = 0xfffe;

export interface Xattrs {
  /** The attributes that several files share. */
  readonly shared: Buffer;
  /** What stands behind an inode; empty if it has no attributes. */
  readonly behind: (entry: Entry) => Buffer;
}

/** @throws RangeError for attributes that the format cannot hold */
export function encodeXattrs(entries: readonly Entry[]): Xattrs {
  const encoded = new Map<Entry, readonly string[]>();
  const uses = new Map<string, number>();
  for (const entry of entries) {
    if (!entry.xattrs || entry.xattrs.size === 0) continue;
    const all = [...entry.xattrs]
      .sort(([a], [b]) => compareNames(a, b))
      .map(([name, value]) => encode(entry, name, value));
    encoded.set(entry, all);
    for (const one of all) uses.set(one, (uses.get(one) ?? 0) + 1);
  }
  const places = new Map<string, number>();
  const parts: Buffer[] = [];
  let at = 0;
  for (const [one, count] of uses) {
    if (count < 2) continue;
    places.set(one, at / UNIT);
    parts.push(Buffer.from(one, 'latin1'));
    at += one.length;
  }
  const behind = new Map([...encoded].map(([entry, all]) => [entry, bodyOf(entry, all, places)]));
  return { shared: Buffer.concat(parts), behind: (entry) => behind.get(entry) ?? NONE };
}

const NONE = Buffer.alloc(0);

/** A character for each byte, so that equal ones are found. */
function encode({ path }: Entry, name: string, value: Uint8Array): string {
  const kind = PREFIXES.find(([prefix, , isWhole]) => (isWhole ? name === prefix : name.startsWith(prefix)));
  const rest = pathBytes(name.slice(kind?.[0].length ?? 0));
  if (!kind || rest.includes(0) || (rest.length === 0 && !kind[2]) || pathBytes(name).length > MAX_NAME)
    throw new RangeError(
      `${JSON.stringify(path)}: EROFS has no room for the attribute ${JSON.stringify(name)}: it takes user., trusted., security. and POSIX ACLs, with up to ${MAX_NAME} bytes`,
    );
  if (value.length > MAX_VALUE)
    throw new RangeError(
      `${JSON.stringify(path)}: the attribute ${name} has ${value.length} bytes, and EROFS has room for ${MAX_VALUE}`,
    );
  const bytes = Buffer.alloc(roundUp(UNIT + rest.length + value.length, UNIT));
  bytes.writeUInt8(rest.length, 0);
  bytes.writeUInt8(kind[1], 1);
  bytes.writeUInt16LE(value.length, 2);
  rest.copy(bytes, UNIT);
  bytes.set(value, UNIT + rest.length);
  return bytes.toString('latin1');
}

/** A header, the numbers of shared attributes, and the others. */
function bodyOf({ path }: Entry, all: readonly string[], places: ReadonlyMap<string, number>): Buffer {
  const shared = all.flatMap((one) => places.get(one) ?? []).slice(0, MAX_SHARED);
  const isShared = new Set(shared);
  const own = all.filter((one) => !isShared.has(places.get(one) ?? -1));
  const header = Buffer.alloc(HEADER + UNIT * shared.length);
  header.writeUInt8(shared.length, 4);
  for (const [index, place] of shared.entries()) header.writeUInt32LE(place, HEADER + UNIT * index);
  const body = Buffer.concat([header, ...own.map((one) => Buffer.from(one, 'latin1'))]);
  if ((body.length - HEADER) / UNIT > MAX_UNITS)
    throw new RangeError(`${JSON.stringify(path)}: its attributes have ${body.length} bytes, and EROFS has room for ${MAX_UNITS * UNIT}`); // prettier-ignore
  return body;
}
