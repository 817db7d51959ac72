/**
 * A file within a tar archive as a device, without unpacking. An OVA is such an archive.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06 (ustar, pax)
 * https://www.gnu.org/software/tar/manual/html_node/Standard.html (GNU)
 */
import { failure, type BlockBackend } from './backend.js';
import { parsing, type Parsing } from './parsing.js';
import { readOnly } from './read-only.js';
import { roundUp } from './sizes.js';
import { slice } from './slice.js';

export interface TarMember {
  /** Without a leading `./`. */
  readonly name: string;
  /** Bytes from the start of the archive. */
  readonly offset: number;
  readonly length: number;
}

const BLOCK = 512;
/** Largest long name, or attributes of one member, in bytes. */
const MAX_EXTRA = 1 << 20;
const MAX_MEMBERS = 1 << 17;

/** Types of regular files. Other members have no contents that could be a disk, and are skipped. */
const FILES: ReadonlySet<string> = new Set(['0', '\0', '7']);

/** Values from extra headers, which replace those of the following member. */
interface Extra {
  readonly path?: string;
  readonly size?: number;
  readonly isSparse?: boolean;
}

/** Readers of extra headers, by type. */
const EXTRAS: Readonly<Record<string, (bytes: Buffer, formatError: Parsing['formatError']) => Extra>> = {
  L: (bytes) => ({ path: textOf(bytes) }),
  K: () => ({}),
  x: paxOf,
};

/**
 * The files in the archive, in order. A name may occur more than once.
 * @throws Error with the code EINVAL if it is not a tar archive or is damaged; ENOTSUP for a sparse file of GNU tar
 */
export async function tarMembers(archive: BlockBackend): Promise<TarMember[]> {
  const input = parsing(archive, 'tar');
  const found: TarMember[] = [];
  let extra: Extra = {};
  for (let at = 0, headers = 0; at + BLOCK <= input.size; headers++) {
    const header = await input.bytes(at, BLOCK, 'a header');
    if (header.every((byte) => byte === 0)) break;
    if (headers === MAX_MEMBERS) throw input.formatError(`more than ${MAX_MEMBERS} members`);
    const { name, size, type } = decoded(header, at, input);
    const length = extra.size ?? size;
    const read = EXTRAS[type];
    if (read) {
      if (size > MAX_EXTRA) throw input.formatError(`${size} bytes of attributes at byte ${at}`);
      extra = { ...extra, ...read(await input.bytes(at + BLOCK, size, 'attributes'), input.formatError) };
    } else {
      if (FILES.has(type)) found.push({ name: withoutDotSlash(extra.path ?? name), offset: at + BLOCK, length });
      if (type === 'S' || extra.isSparse)
        throw failure(
          'ENOTSUP',
          `tar: ${JSON.stringify(withoutDotSlash(extra.path ?? name))} is stored as a sparse file`,
        );
      extra = {};
    }
    at += BLOCK + roundUp(read ? size : length, BLOCK);
  }
  return found;
}

/**
 * One file, read-only. If a name occurs more than once, the last file counts, as when unpacking. `close` closes the
 * archive.
 * @throws Error with the code ENOENT, which lists the files, if there is no such name; the errors of `tarMembers`. The
 * archive stays open in these cases
 */
export async function tarMember(archive: BlockBackend, name: string): Promise<BlockBackend> {
  const all = await tarMembers(archive);
  const found = all.findLast((member) => member.name === withoutDotSlash(name));
  if (!found) throw failure('ENOENT', `there is no ${JSON.stringify(name)} in the archive: ${listOf(all)}`);
  if (found.offset + found.length > archive.size)
    throw failure('EINVAL', `tar: the archive ends within ${JSON.stringify(found.name)}`);
  return readOnly(slice(archive, found.offset, found.length));
}

const MAX_NAMED = 32;

const listOf = (all: readonly TarMember[]): string =>
  all.length === 0
    ? 'it has no files'
    : `it has ${all.slice(0, MAX_NAMED).map((member) => JSON.stringify(member.name)).join(', ')}${all.length > MAX_NAMED ? ' …' : ''}`; // prettier-ignore

const withoutDotSlash = (name: string): string => name.replace(/^(\.\/+)+/, '');

function decoded(header: Buffer, at: number, { formatError }: Parsing): { name: string; size: number; type: string } {
  const sum = numberOf(header.subarray(148, 156));
  // The checksum counts its own field as spaces.
  const computed = header.reduce((all, byte, index) => all + (index >= 148 && index < 156 ? 0x20 : byte), 0);
  if (sum !== computed) throw formatError(at === 0 ? 'this is no tar archive' : `no header at byte ${at}`);
  const size = numberOf(header.subarray(124, 136));
  if (!Number.isSafeInteger(size)) throw formatError(`a member of a size that is none, at byte ${at}`);
  // GNU's own format has a space there, and uses the prefix field for times.
  const prefix = header.toString('latin1', 257, 263) === 'ustar\0' ? textOf(header.subarray(345, 500)) : '';
  const name = textOf(header.subarray(0, 100));
  return { name: prefix === '' ? name : `${prefix}/${name}`, size, type: String.fromCharCode(header[156] ?? 0) };
}

/** Octal digits, or GNU's binary form, marked by the first bit. @returns NaN if it is neither */
function numberOf(field: Buffer): number {
  if (((field[0] ?? 0) & 0x80) === 0) {
    const digits = textOf(field).trim();
    return digits === '' ? 0 : /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : NaN;
  }
  const value = field.reduce((all, byte, index) => all * 256 + (index === 0 ? byte & 0x7f : byte), 0);
  return Number.isSafeInteger(value) ? value : NaN;
}

/** The text up to the first NUL. */
function textOf(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

/** Lines of the form `LENGTH KEY=VALUE\n`. LENGTH is the length of the whole line in decimal digits. */
function paxOf(bytes: Buffer, formatError: Parsing['formatError']): Extra {
  const extra: { path?: string; size?: number; isSparse?: boolean } = {};
  for (let at = 0; at < bytes.length && bytes[at] !== 0;) {
    const [digits = ''] = /^\d{1,7} /.exec(bytes.toString('latin1', at, at + 8)) ?? [];
    const length = Number(digits);
    if (length <= digits.length || at + length > bytes.length) throw formatError('attributes that are none');
    const [, key = '', value = ''] =
      /^([^=]*)=(.*)\n$/s.exec(bytes.toString('utf8', at + digits.length, at + length)) ?? [];
    if (key === 'path') extra.path = value;
    if (key.startsWith('GNU.sparse.')) extra.isSparse = true;
    if (key === 'size') {
      if (!/^\d{1,16}$/.test(value) || !Number.isSafeInteger(Number(value)))
        throw formatError(`a size of ${JSON.stringify(value.slice(0, 40))}`);
      extra.size = Number(value);
    }
    at += length;
  }
  return extra;
}
