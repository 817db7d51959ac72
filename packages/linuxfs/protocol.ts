/**
 * What this library and the kernel say to each other: the numbers of `linuxfs-kernel/nodefs/protocol.h`, with which a
 * test compares these. All numbers are little-endian.
 */

export const VERSION = 4;
export const SLOT_SIZE = 1 << 20;
export const NO_SLOT = 0xffffffff;
export const MOUNTS = 64;
export const DISKS = 64;
export const MESSAGE_MAX = 65536;
/** The most bytes of one read or write of a disk. */
export const DISK_REQUEST_MAX = 1 << 20;

export const OPS = {
  ATTACH: 1,
  DETACH: 2,
  MOUNT: 3,
  UNMOUNT: 4,
  REMOUNT: 5,
  SYNC: 6,
  LOOK: 7,
  OPEN: 10,
  CLOSE: 11,
  READ: 12,
  WRITE: 13,
  STAT: 14,
  READDIR: 15,
  FSYNC: 16,
  TRUNCATE: 17,
  ALLOCATE: 18,
  SEEK: 19,
  COPY: 20,
  READ_FILE: 21,
  WRITE_FILE: 22,
  IOCTL: 23,
  MKDIR: 30,
  RMDIR: 31,
  UNLINK: 32,
  RENAME: 33,
  LINK: 34,
  SYMLINK: 35,
  READLINK: 36,
  MKNOD: 37,
  REALPATH: 38,
  ACCESS: 39,
  CHMOD: 40,
  CHOWN: 41,
  UTIMES: 42,
  STATFS: 43,
  GETXATTR: 44,
  SETXATTR: 45,
  LISTXATTR: 46,
  REMOVEXATTR: 47,
} as const;
export type Op = keyof typeof OPS;

/** Flags of ATTACH. */
export const READ_ONLY = 1;
export const CAN_TRIM = 2;
export const CAN_ZERO = 4;
/** Flags of OPEN, READ_FILE and WRITE_FILE: x86's numbers. Those of the host and of the kernel's processor may differ. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0x40,
  EXCL: 0x80,
  TRUNC: 0x200,
  APPEND: 0x400,
  DSYNC: 0x1000,
  DIRECT: 0x4000,
  DIRECTORY: 0x10000,
  NOFOLLOW: 0x20000,
  NOATIME: 0x40000,
  SYNC: 0x101000,
} as const;
/** Flag of STAT, CHMOD, CHOWN, UTIMES and the extended attributes: a symbolic link itself is meant. */
export const NO_FOLLOW = 1;
/** Flag of READDIR. */
export const WITH_STATS = 1;
/** Flag of FSYNC. */
export const DATA_ONLY = 1;
/** Of WRITE_FILE, in `value`: fsync comes after it. */
export const THEN_SYNC = 1;
/** Of an error of READ_FILE and WRITE_FILE: the file could be opened, and what came then failed. */
export const AFTER_OPEN = 0x10000;
/** Of COPY, in `mode`: the blocks become common to both files, or it is an error. */
export const CLONE = 1;
/** Flags of UTIMES. */
export const ATIME_NOW = 2;
export const MTIME_NOW = 4;

/** The fields of a request; all that are absent are 0. */
export interface Request {
  readonly op: Op;
  readonly mount?: number;
  readonly slot?: number;
  readonly handle?: number;
  readonly flags?: number;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Bytes without a NUL. */
  readonly name?: Uint8Array;
  readonly other?: Uint8Array;
  readonly offset?: number | bigint;
  readonly size?: number | bigint;
  readonly value?: number | bigint;
  readonly data?: Uint8Array;
}

export interface Reply {
  readonly handle: number;
  readonly value: number;
  readonly data: Buffer;
}

const REQUEST_SIZE = 64;
export const REPLY_SIZE = 24;
/** Bytes of data that go with a request instead of through a slot. */
export const INLINE_MAX = 16384;

const NOTHING = new Uint8Array(0);

/** @param tag 1 to 2^32 - 1; 0 of what has no reply */
export function encodeRequest(tag: number, request: Request): Buffer {
  const { name = NOTHING, other = NOTHING, data = NOTHING } = request;
  const length = REQUEST_SIZE + name.length + other.length + data.length;
  const bytes = Buffer.allocUnsafe(length);
  bytes.writeUInt32LE(length, 0);
  bytes.writeUInt32LE(tag, 4);
  bytes.writeUInt16LE(OPS[request.op], 8);
  bytes.writeUInt16LE(request.mount ?? 0, 10);
  bytes.writeUInt32LE(request.slot ?? NO_SLOT, 12);
  bytes.writeUInt32LE(request.handle ?? 0, 16);
  bytes.writeUInt32LE(request.flags ?? 0, 20);
  bytes.writeUInt32LE(request.mode ?? 0, 24);
  bytes.writeUInt32LE(request.uid ?? 0, 28);
  bytes.writeUInt32LE(request.gid ?? 0, 32);
  bytes.writeUInt16LE(name.length, 36);
  bytes.writeUInt16LE(other.length, 38);
  write64(bytes, request.offset ?? 0, 40);
  write64(bytes, request.size ?? 0, 48);
  write64(bytes, request.value ?? 0, 56);
  bytes.set(name, REQUEST_SIZE);
  bytes.set(other, REQUEST_SIZE + name.length);
  bytes.set(data, REQUEST_SIZE + name.length + other.length);
  return bytes;
}

/** Numbers are the common case, and much faster than BigInts. */
function write64(bytes: Buffer, value: number | bigint, at: number): void {
  if (typeof value === 'bigint' || value < 0) {
    bytes.writeBigInt64LE(BigInt.asIntN(64, BigInt(value)), at);
    return;
  }
  bytes.writeUInt32LE(value >>> 0, at);
  bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
}

/** @returns a number that is exact up to 2^53 */
export const read64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 0x1_0000_0000;

export interface Hello {
  readonly workers: number;
  /** Offsets in the kernel's memory. */
  readonly mailbox: number;
  readonly slots: readonly number[];
}

/** Offsets in the mailbox. */
export const MAILBOX = { posted: 0, looking: 1, replied: 64, asleep: 65, reply: 128, request: 4096 } as const;
/** The longest request and reply that fit into it, in bytes. */
export const MAILBOX_REQUEST_MAX = 4096;
export const MAILBOX_REPLY_MAX = 3968;

/** @throws Error if the kernel has another version of the protocol */
export function decodeHello(data: Buffer): Hello {
  const version = data.readUInt32LE(0);
  if (version !== VERSION)
    throw new Error(`the kernel speaks version ${version} of the protocol, and this library version ${VERSION}`);
  const slots = [];
  for (let at = 16; at + 8 <= data.length; at += 8) slots.push(read64(data, at));
  return { workers: data.readUInt32LE(4), mailbox: read64(data, 8), slots };
}

/** A time in seconds since 1970, which may be negative, and nanoseconds, 0 to 999,999,999. */
export interface Time {
  readonly seconds: bigint;
  readonly nanoseconds: number;
}

export interface RawStat {
  readonly mode: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly inode: bigint;
  readonly size: bigint;
  readonly blocks: bigint;
  readonly device: readonly [major: number, minor: number];
  readonly special: readonly [major: number, minor: number];
  readonly blockSize: number;
  readonly access: Time;
  readonly modification: Time;
  readonly change: Time;
  readonly birth: Time | undefined;
}

export const STAT_SIZE = 112;

export function decodeStat(data: Buffer, at = 0): RawStat {
  const time = (which: number): Time => ({
    seconds: data.readBigInt64LE(at + 80 + which * 8),
    nanoseconds: data.readUInt32LE(at + 60 + which * 4),
  });
  return {
    mode: data.readUInt32LE(at),
    links: data.readUInt32LE(at + 4),
    uid: data.readUInt32LE(at + 8),
    gid: data.readUInt32LE(at + 12),
    inode: data.readBigUInt64LE(at + 16),
    size: data.readBigUInt64LE(at + 24),
    blocks: data.readBigUInt64LE(at + 32),
    device: [data.readUInt32LE(at + 40), data.readUInt32LE(at + 44)],
    special: [data.readUInt32LE(at + 48), data.readUInt32LE(at + 52)],
    blockSize: data.readUInt32LE(at + 56),
    access: time(0),
    modification: time(1),
    change: time(2),
    birth: data.readUInt32LE(at + 76) === 0 ? undefined : time(3),
  };
}

export interface RawEntry {
  readonly name: Buffer;
  /** `DT_*`, readdir(3); 0 if the filesystem does not say. */
  readonly type: number;
  readonly stat: RawStat | undefined;
}

const ENTRY_SIZE = 24;

/** The entries of one reply to READDIR, and the position after the last of them. */
export function decodeEntries(data: Buffer, withStats: boolean): { entries: RawEntry[]; next: bigint } {
  const entries: RawEntry[] = [];
  let next = 0n;
  for (let at = 0; at + ENTRY_SIZE <= data.length;) {
    const length = data.readUInt16LE(at + 16);
    const end = at + ENTRY_SIZE + length;
    const hasStat = data.readUInt8(at + 19) !== 0;
    next = data.readBigUInt64LE(at + 8);
    entries.push({
      name: Buffer.from(data.subarray(at + ENTRY_SIZE, end)),
      type: data.readUInt8(at + 18),
      stat: hasStat ? decodeStat(data, end) : undefined,
    });
    at = Math.ceil((end + (withStats ? STAT_SIZE : 0)) / 8) * 8;
  }
  return { entries, next };
}

export interface RawStatfs {
  readonly type: bigint;
  readonly blockSize: bigint;
  readonly blocks: bigint;
  readonly free: bigint;
  readonly available: bigint;
  readonly files: bigint;
  readonly freeFiles: bigint;
  readonly nameMax: bigint;
}

export function decodeStatfs(data: Buffer): RawStatfs {
  const field = (index: number): bigint => data.readBigUInt64LE(index * 8);
  return {
    type: field(0),
    blockSize: field(1),
    blocks: field(2),
    free: field(3),
    available: field(4),
    files: field(5),
    freeFiles: field(6),
    nameMax: field(7),
  };
}

/** Disks: a request of the kernel's. */
export interface DiskRequest {
  readonly tag: number;
  readonly disk: number;
  readonly op: number;
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  readonly segments: readonly { readonly offset: number; readonly size: number }[];
}

export const DISK_OPS = { READ: 0, WRITE: 1, FLUSH: 2, TRIM: 3, ZERO: 4 } as const;
const DISK_REQUEST_SIZE = 32;

/** @throws Error if its segments are not as many bytes as it says, or lie outside a memory of `memory` bytes */
export function decodeDiskRequest(bytes: Buffer, memory: number): DiskRequest {
  const count = bytes.readUInt8(11);
  const segments = Array.from({ length: count }, (_, index) => ({
    offset: read64(bytes, DISK_REQUEST_SIZE + index * 16),
    size: read64(bytes, DISK_REQUEST_SIZE + index * 16 + 8),
  }));
  const op = bytes.readUInt8(10);
  const size = read64(bytes, 24);
  if (op === DISK_OPS.READ || op === DISK_OPS.WRITE) {
    const sum = segments.reduce((bytes, segment) => bytes + segment.size, 0);
    const isInside = segments.every((segment) => segment.offset + segment.size <= memory);
    if (sum !== size || size > DISK_REQUEST_MAX || !isInside)
      throw new Error(`the kernel asked a disk for ${size} bytes in ${count} segments of ${sum}`);
  }
  return { tag: bytes.readUInt32LE(4), disk: bytes.readUInt16LE(8), op, offset: read64(bytes, 16), size, segments };
}

/** @param error an errno, or 0 */
export function encodeDiskReply(tag: number, error: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeUInt32LE(tag, 0);
  bytes.writeUInt32LE(error, 4);
  return bytes;
}

/** Instead of a disk's reply: the request for files with that tag is given up. It is replied to nevertheless. */
export const encodeCancel = (tag: number): Buffer => encodeDiskReply(CANCEL, tag);
export const CANCEL = 0xffffffff;

/** Cuts a stream into messages, which begin with their length. */
export class Messages {
  #rest: Buffer = Buffer.alloc(0);

  /** @param each a message that is valid until it returns. @throws Error if a length is impossible */
  feed(chunk: Buffer, each: (message: Buffer) => void): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= 4) {
      const length = bytes.readUInt32LE(0);
      if (length < 8 || length > MESSAGE_MAX) throw new Error(`the kernel sent a message of ${length} bytes`);
      if (bytes.length < length) break;
      each(bytes.subarray(0, length));
      bytes = bytes.subarray(length);
    }
    this.#rest = Buffer.from(bytes);
  }
}
