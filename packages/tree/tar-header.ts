/**
 * The blocks of 512 bytes in front of each member of a tar archive: V7, ustar, and GNU's.
 * https://www.gnu.org/software/tar/manual/html_node/Standard.html
 */
import { invalid } from './byte-reader.js';

export const BLOCK = 512;
const CHECKSUM = { at: 148, length: 8 };
/** In bytes. */
const FIELDS = {
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  major: [329, 8],
  minor: [337, 8],
} as const;

export interface TarHeader {
  /** One character; `0` also for the NUL of V7. */
  readonly kind: string;
  /** Bytes of the name, without those from the first NUL on. */
  readonly name: Buffer;
  readonly link: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly rdev: readonly [major: number, minor: number];
  /** Whether it is GNU's, which has other fields where ustar has the start of a long name. */
  readonly isGnu: boolean;
}

/** @throws Error with the code EINVAL for a wrong checksum, and for fields that are no numbers */
export function decodeHeader(block: Buffer): TarHeader {
  checkSum(block);
  const number = (name: keyof typeof FIELDS): number => {
    const [at, length] = FIELDS[name];
    return numberAt(block, at, length, name);
  };
  const isGnu = block.toString('latin1', 257, 265) === 'ustar  \0';
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0';
  const kind = String.fromCharCode(block[156] ?? 0);
  const isDevice = kind === '3' || kind === '4';
  const name = textAt(block, 0, 100);
  // Of star's archives, whose mark is at the end, the prefix has 131 bytes.
  const prefix = isUstar
    ? textAt(block, 345, block.toString('latin1', 508, 512) === 'tar\0' ? 131 : 155)
    : Buffer.alloc(0);
  return {
    kind: kind === '\0' ? '0' : kind,
    name: prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name,
    link: textAt(block, 157, 100),
    mode: number('mode') & 0o7777,
    uid: number('uid'),
    gid: number('gid'),
    size: number('size'),
    mtime: number('mtime'),
    // V7 has nothing there, and others have what they like for what is no device.
    rdev: isDevice ? [number('major'), number('minor')] : [0, 0],
    isGnu,
  };
}

/** The sum of all bytes, with spaces in the place of the sum. Some old writers took bytes for signed. */
function checkSum(block: Buffer): void {
  const stated = numberAt(block, CHECKSUM.at, CHECKSUM.length, 'checksum');
  let [sum, signed] = [0, 0];
  for (let at = 0; at < BLOCK; at++) {
    const value = at >= CHECKSUM.at && at < CHECKSUM.at + CHECKSUM.length ? 0x20 : (block[at] ?? 0);
    sum += value;
    signed += value > 127 ? value - 256 : value;
  }
  if (stated !== sum && stated !== signed)
    throw invalid(`tar: this is no header: its checksum is ${sum} and not ${stated}`);
}

/** Up to the first NUL. */
export function textAt(block: Buffer, at: number, length: number): Buffer {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return end < 0 ? field : field.subarray(0, end);
}

/**
 * Octal digits between spaces or NULs, or base 256: a number in two's complement, whose first bit only says so. Nothing is
 * 0.
 * @throws Error with the code EINVAL for anything else, and for numbers that JavaScript cannot hold
 */
export function numberAt(block: Buffer, at: number, length: number, name: string): number {
  const field = block.subarray(at, at + length);
  const value = (field[0] ?? 0) & 0x80 ? base256(field) : octal(field);
  if (Number.isSafeInteger(value)) return value;
  throw invalid(`tar: the ${name} ${JSON.stringify(field.toString('latin1'))} is no number that a file can have`);
}

function octal(field: Buffer): number {
  const digits = /^[ \0]*([0-7]*)(?:[ \0].*)?$/s.exec(field.toString('latin1'))?.[1];
  return digits === '' ? 0 : parseInt(digits ?? '', 8);
}

function base256(field: Buffer): number {
  const bits = BigInt(8 * field.length - 1);
  return Number(BigInt.asIntN(Number(bits), BigInt(`0x${field.toString('hex')}`)));
}
