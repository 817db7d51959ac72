/**
 * Extended attributes in EROFS images, behind their inodes: a header of 12 bytes, and an entry of each attribute.
 * Attributes that many files share may be elsewhere; such are read, and not written.
 * https://erofs.docs.kernel.org/en/latest/core_ondisk.html#extended-attributes
 */
import { pathBytes, pathOf } from '@nodeos/tree';

const HEADER = 12;
const UNIT = 4;
const ENTRY = 4;
const MAX_VALUE = 0xffff;
const MAX_NAME = 0xff;
/** `i_xattr_icount` has 16 bits. */
const MAX_BODY = HEADER + UNIT * (0xffff - 1);

/** What a name begins with, by the number that stands for it. Some stand for the whole name. */
const PREFIXES: readonly (readonly [index: number, prefix: string, isWhole: boolean])[] = [
  [1, 'user.', false],
  [2, 'system.posix_acl_access', true],
  [3, 'system.posix_acl_default', true],
  [4, 'trusted.', false],
  [6, 'security.', false],
];

type Attributes = ReadonlyMap<string, Uint8Array>;

/**
 * What stands behind an inode; empty without attributes.
 * @throws RangeError for an attribute that the format cannot hold
 */
export function encodeXattrs(attributes: Attributes | undefined, path: string): Buffer {
  if (!attributes || attributes.size === 0) return Buffer.alloc(0);
  const entries = [...attributes].map(([name, value]) => encodeEntry(name, value, path)).sort(Buffer.compare);
  const body = Buffer.concat([Buffer.alloc(HEADER), ...entries]);
  if (body.length > MAX_BODY) throw new RangeError(`${path}: ${body.length} bytes of extended attributes`);
  return body;
}

function encodeEntry(name: string, value: Uint8Array, path: string): Buffer {
  const found = PREFIXES.find(([, prefix, isWhole]) => (isWhole ? name === prefix : name.startsWith(prefix)));
  if (!found) throw new RangeError(`${path}: EROFS has no room for the extended attribute ${JSON.stringify(name)}`);
  const [index, prefix] = found;
  const rest = pathBytes(name.slice(prefix.length));
  if (rest.length > MAX_NAME || value.length > MAX_VALUE)
    throw new RangeError(`${path}: ${name}: a name of ${rest.length} bytes, and a value of ${value.length}`);
  const bytes = Buffer.alloc(roundUp(ENTRY + rest.length + value.length));
  bytes.writeUInt8(rest.length, 0);
  bytes.writeUInt8(index, 1);
  bytes.writeUInt16LE(value.length, 2);
  rest.copy(bytes, ENTRY);
  bytes.set(value, ENTRY + rest.length);
  return bytes;
}

/** `i_xattr_icount`: what stands for the length of the body. */
export const countOf = (body: Uint8Array): number => (body.length === 0 ? 0 : (body.length - HEADER) / UNIT + 1);

/** Bytes of a body. */
export const lengthOf = (count: number): number => (count === 0 ? 0 : HEADER + UNIT * (count - 1));

export interface DecodedXattrs {
  readonly attributes: ReadonlyMap<string, Buffer>;
  /** Places of shared attributes, in units of 4 bytes from the start of their area. */
  readonly shared: readonly number[];
}

/** @returns undefined if the body is damaged, or has names with prefixes of the image's own */
export function decodeXattrs(body: Buffer): DecodedXattrs | undefined {
  if (body.length < HEADER) return undefined;
  const count = body.readUInt8(4);
  const start = HEADER + UNIT * count;
  if (start > body.length) return undefined;
  const shared = Array.from({ length: count }, (_, index) => body.readUInt32LE(HEADER + UNIT * index));
  const attributes = new Map<string, Buffer>();
  for (let at = start; at + ENTRY <= body.length;) {
    const entry = decodeEntry(body.subarray(at));
    if (!entry) return undefined;
    attributes.set(entry.name, entry.value);
    at += entry.length;
  }
  return { attributes, shared };
}

/** Bytes that a shared attribute has at the most. */
export const MAX_ENTRY = ENTRY + MAX_NAME + MAX_VALUE;

/** @returns undefined if the entry is not within the bytes, or its prefix is unknown */
export function decodeEntry(bytes: Buffer): { name: string; value: Buffer; length: number } | undefined {
  if (bytes.length < ENTRY) return undefined;
  const [nameLength, index, valueLength] = [bytes.readUInt8(0), bytes.readUInt8(1), bytes.readUInt16LE(2)];
  const found = PREFIXES.find(([number]) => number === index);
  const end = ENTRY + nameLength + valueLength;
  if (!found || end > bytes.length || (found[2] && nameLength > 0)) return undefined;
  const name = found[1] + pathOf(bytes.subarray(ENTRY, ENTRY + nameLength));
  if (name.includes('\0')) return undefined;
  return { name, value: bytes.subarray(ENTRY + nameLength, end), length: roundUp(end) };
}

const roundUp = (length: number): number => Math.ceil(length / UNIT) * UNIT;
