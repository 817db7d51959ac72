/**
 * Messages of the FUSE protocol, version 7.31, between the kernel and a process that serves a filesystem.
 * https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/fuse.h
 *
 * Numbers are little-endian, as on all machines that `system.ts` knows. A message ends where its header says.
 */
import { failure } from '@nodeos/block';

export const OPCODES = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  read: 15,
  write: 16,
  statfs: 17,
  fsync: 20,
  init: 26,
  readdir: 28,
  batchForget: 42,
  fallocate: 43,
  lseek: 46,
} as const;

export const ROOT = 1;
/** In bytes, of the header of a request, and of that of an answer. */
const REQUEST_HEADER = 40;
export const HEADER = 16;
/** Bytes of the fixed part of a request for writing, and of its header: what a buffer needs beside the data. */
export const WRITE_OVERHEAD = REQUEST_HEADER + 40;

export interface Request {
  readonly opcode: number;
  readonly unique: bigint;
  /** The number of the file. */
  readonly node: number;
  /** In the buffer that the message was read into. */
  readonly body: Buffer;
}

/** @throws Error with the code EIO for what is no message */
export function decodeRequest(message: Buffer): Request {
  if (message.length < REQUEST_HEADER || message.readUInt32LE(0) !== message.length)
    throw failure('EIO', `a FUSE message of ${message.length} bytes has another length in its header`);
  return {
    opcode: message.readUInt32LE(4),
    unique: message.readBigUInt64LE(8),
    node: numberAt(message, 16),
    body: message.subarray(REQUEST_HEADER),
  };
}

/** @throws Error with the code EINVAL if it is no safe integer */
function numberAt(bytes: Buffer, offset: number): number {
  const number = Number(bytes.readBigUInt64LE(offset));
  if (Number.isSafeInteger(number)) return number;
  throw failure('EINVAL', `${number} is too large`);
}

/** @throws Error with the code EINVAL if there are fewer bytes */
function bodyOf({ body, opcode }: Request, length: number): Buffer {
  if (body.length >= length) return body;
  throw failure('EINVAL', `a FUSE request ${opcode} has ${body.length} bytes, and needs ${length}`);
}

/** A name without the NUL at its end. @throws Error with the code EINVAL if there is none */
export function decodeName({ body }: Request): Buffer {
  const end = body.indexOf(0);
  if (end < 0) throw failure('EINVAL', 'a FUSE request has a name without an end');
  return body.subarray(0, end);
}

export interface Range {
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
}

/** Of READ and READDIR. */
export function decodeRead(request: Request): Range {
  const body = bodyOf(request, 40);
  return { offset: numberAt(body, 8), size: body.readUInt32LE(16) };
}

/** @returns the data in the message's buffer, and where it goes */
export function decodeWrite(request: Request): { readonly offset: number; readonly data: Buffer } {
  const body = bodyOf(request, 40);
  const size = body.readUInt32LE(16);
  if (body.length !== 40 + size) throw failure('EINVAL', `a FUSE write of ${size} bytes has ${body.length - 40}`);
  return { offset: numberAt(body, 8), data: body.subarray(40) };
}

const [MODE, UID, GID, SIZE] = [1, 2, 4, 8] as const;

/** What is to change; times are left out. @returns the new size, if it is to change */
export function decodeSetAttributes(request: Request): { readonly size?: number; readonly hasOthers: boolean } {
  const body = bodyOf(request, 88);
  const valid = body.readUInt32LE(0);
  return {
    hasOthers: (valid & (MODE | UID | GID)) !== 0,
    ...((valid & SIZE) !== 0 && { size: numberAt(body, 16) }),
  };
}

export interface Allocation extends Range {
  /** Bits of fallocate(2). */
  readonly mode: number;
}

export function decodeAllocate(request: Request): Allocation {
  const body = bodyOf(request, 32);
  return { offset: numberAt(body, 8), size: numberAt(body, 16), mode: body.readUInt32LE(24) };
}

export function decodeSeek(request: Request): { readonly offset: number; readonly whence: number } {
  const body = bodyOf(request, 24);
  return { offset: numberAt(body, 8), whence: body.readUInt32LE(16) };
}

/** An answer with room for its header, which `seal` fills. */
export const answer = (length: number): Buffer => Buffer.alloc(HEADER + length);

/** Fills the header of an answer. @param errno positive; 0 for success */
export function seal(message: Buffer, unique: bigint, errno = 0): Buffer {
  message.writeUInt32LE(message.length, 0);
  message.writeInt32LE(-errno, 4);
  message.writeBigUInt64LE(unique, 8);
  return message;
}

/** Of the answers to INIT. https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/fuse.h#L400 */
const FLAGS = {
  asyncRead: 1 << 0,
  bigWrites: 1 << 5,
  asyncDirectIo: 1 << 15,
  parallelLookups: 1 << 18,
  maxPages: 1 << 22,
  /** The kernel does not drop its pages because a time or a size seems to have changed: nobody else changes a file. */
  explicitInvalidation: 1 << 25,
} as const;
const WANTED = Object.values(FLAGS).reduce((all, flag) => all | flag, 0);

const MAJOR = 7;
const MINOR = 31;
const PAGE = 4096;

export interface Limits {
  /** Bytes of a request, a multiple of 4096. */
  readonly request: number;
  /** Bytes that the kernel reads ahead. */
  readonly readAhead: number;
  /** Requests that nobody waits for, such as those of reading ahead, at once. */
  readonly background: number;
}

/** @throws Error with the code EPROTO for a kernel before 5.4 */
export function initAnswer(request: Request, { request: most, readAhead, background }: Limits): Buffer {
  const body = bodyOf(request, 16);
  const [major, minor] = [body.readUInt32LE(0), body.readUInt32LE(4)];
  if (major < MAJOR || (major === MAJOR && minor < MINOR))
    throw failure('EPROTO', `the kernel speaks FUSE ${major}.${minor}; ${MAJOR}.${MINOR} is needed (Linux 5.4)`);
  const message = answer(64);
  const out = message.subarray(HEADER);
  out.writeUInt32LE(MAJOR, 0);
  out.writeUInt32LE(MINOR, 4);
  // A newer kernel with another major version asks again with this one.
  if (major > MAJOR) return message;
  out.writeUInt32LE(readAhead, 8);
  out.writeUInt32LE((body.readUInt32LE(12) & WANTED) >>> 0, 12);
  out.writeUInt16LE(background, 16);
  out.writeUInt16LE(Math.ceil((background * 3) / 4), 18);
  out.writeUInt32LE(most, 20);
  out.writeUInt32LE(1, 24); // times in nanoseconds
  out.writeUInt16LE(most / PAGE, 28);
  return message;
}

export interface Attributes {
  readonly node: number;
  /** In bytes. */
  readonly size: number;
  /** Kind and permissions, as in `stat`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of all three times: milliseconds since 1970. */
  readonly time: number;
}

const SECTOR = 512;
/** Seconds for which the kernel need not ask again: names and attributes stay. */
const VALID = 86_400;

function writeAttributes(out: Buffer, { node, size, mode, uid, gid, time }: Attributes): void {
  const seconds = BigInt(Math.floor(time / 1000));
  for (const [index, value] of [BigInt(node), BigInt(size), BigInt(Math.ceil(size / SECTOR))].entries())
    out.writeBigUInt64LE(value, index * 8);
  for (const at of [24, 32, 40]) out.writeBigUInt64LE(seconds, at);
  for (const at of [48, 52, 56]) out.writeUInt32LE(Math.floor((time % 1000) * 1e6), at);
  for (const [index, value] of [mode, 1, uid, gid, 0, PAGE].entries()) out.writeUInt32LE(value, 60 + index * 4);
}

/** To LOOKUP. */
export function entryAnswer(attributes: Attributes): Buffer {
  const message = answer(128);
  const out = message.subarray(HEADER);
  out.writeBigUInt64LE(BigInt(attributes.node), 0);
  for (const at of [16, 24]) out.writeBigUInt64LE(BigInt(VALID), at);
  writeAttributes(out.subarray(40), attributes);
  return message;
}

/** To GETATTR and SETATTR. */
export function attributesAnswer(attributes: Attributes): Buffer {
  const message = answer(104);
  message.writeBigUInt64LE(BigInt(VALID), HEADER);
  writeAttributes(message.subarray(HEADER + 16), attributes);
  return message;
}

export function writeAnswer(written: number): Buffer {
  const message = answer(8);
  message.writeUInt32LE(written, HEADER);
  return message;
}

export function seekAnswer(offset: number): Buffer {
  const message = answer(8);
  message.writeBigUInt64LE(BigInt(offset), HEADER);
  return message;
}

/** @param bytes of all files */
export function statfsAnswer(bytes: number, files: number): Buffer {
  const message = answer(80);
  const out = message.subarray(HEADER);
  out.writeBigUInt64LE(BigInt(Math.ceil(bytes / PAGE)), 0);
  out.writeBigUInt64LE(BigInt(files), 24);
  out.writeUInt32LE(PAGE, 40);
  out.writeUInt32LE(255, 44); // bytes of a name
  out.writeUInt32LE(PAGE, 48);
  return message;
}

export interface Name {
  readonly node: number;
  readonly name: Buffer;
  /** As in `dirent`: 4 for a folder, 8 for a file. */
  readonly type: number;
}

/** To READDIR: names from number `from` on, as many as fit into `size` bytes. */
export function namesAnswer(names: readonly Name[], from: number, size: number): Buffer {
  const entries: Buffer[] = [];
  let length = 0;
  for (const [index, { node, name, type }] of names.entries()) {
    if (index < from) continue;
    const entry = Buffer.alloc(Math.ceil((24 + name.length) / 8) * 8);
    if (length + entry.length > size) break;
    entry.writeBigUInt64LE(BigInt(node), 0);
    entry.writeBigUInt64LE(BigInt(index + 1), 8); // where the next one begins
    entry.writeUInt32LE(name.length, 16);
    entry.writeUInt32LE(type, 20);
    name.copy(entry, 24);
    entries.push(entry);
    length += entry.length;
  }
  return Buffer.concat([Buffer.alloc(HEADER), ...entries]);
}
