/**
 * Reads the extended attributes of an inode of an EROFS image that is not trusted.
 * https://erofs.docs.kernel.org/en/latest/core_ondisk.html#extended-attributes
 */
import type { Parsing } from '@nodeos/block';
import { pathOf } from '@nodeos/tree';

/** By the numbers that stand for them. */
const PREFIXES: Readonly<Record<number, string>> = {
  1: 'user.',
  2: 'system.posix_acl_access',
  3: 'system.posix_acl_default',
  4: 'trusted.',
  6: 'security.',
};
const HEADER = 12;
const UNIT = 4;
/** Bytes of all attributes of a file. */
const MAX_BYTES = 1 << 20;

/** Bytes behind an inode for so many units, as the inode states them. */
export const bodyLength = (units: number): number => (units === 0 ? 0 : HEADER + UNIT * (units - 1));

/**
 * @param body what is behind the inode
 * @param sharedAt bytes from the start of the image to the attributes that files share
 * @param subject the file, for messages
 * @returns undefined if there are none. Those of kinds that are not known are left out
 * @throws Error with the code EINVAL for attributes that do not lie where they should
 */
export async function xattrsIn(
  input: Parsing,
  body: Buffer,
  sharedAt: number,
  subject: string,
): Promise<ReadonlyMap<string, Uint8Array> | undefined> {
  if (body.length === 0) return undefined;
  const found = new Map<string, Uint8Array>();
  let used = 0;
  const add = (index: number, name: Buffer, value: Buffer): void => {
    used += name.length + value.length;
    if (used > MAX_BYTES) throw input.formatError(`${subject} has more than ${MAX_BYTES} bytes of attributes`);
    const prefix = PREFIXES[index];
    if (name.includes(0)) throw input.formatError(`${subject} has an attribute with NUL in its name`);
    if (prefix !== undefined) found.set(prefix + pathOf(name), value);
  };
  const count = body.readUInt8(4);
  let at = HEADER + UNIT * count;
  if (at > body.length) throw input.formatError(`${subject} has ${count} attributes, which do not fit behind it`);
  for (let index = 0; index < count; index++) {
    const place = sharedAt + UNIT * body.readUInt32LE(HEADER + UNIT * index);
    const head = await input.bytes(place, UNIT, 'an attribute');
    const text = await input.bytes(place + UNIT, head.readUInt8(0) + head.readUInt16LE(2), 'an attribute');
    add(head.readUInt8(1), text.subarray(0, head.readUInt8(0)), text.subarray(head.readUInt8(0)));
  }
  while (at + UNIT <= body.length) {
    const [name, value] = [body.readUInt8(at), body.readUInt16LE(at + 2)];
    const end = at + UNIT + name + value;
    if (end > body.length) throw input.formatError(`${subject} has an attribute that does not fit behind it`);
    add(body.readUInt8(at + 1), body.subarray(at + UNIT, at + UNIT + name), body.subarray(at + UNIT + name, end));
    at = end + ((UNIT - (end % UNIT)) % UNIT);
  }
  return found.size > 0 ? found : undefined;
}
