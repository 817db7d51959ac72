/**
 * A filesystem of one folder, whose files are block devices. Names, sizes and permissions never change. What is not in
 * the table of requests is answered with ENOSYS; for most of it, the kernel asks once and then does without.
 */
import { aligned, chain, failure, type BlockBackend, type MaybePromise } from '@nodeos/block';
import type { Buffers } from './buffers.js';
import {
  answer,
  attributesAnswer,
  decodeAllocate,
  decodeName,
  decodeRead,
  decodeSeek,
  decodeSetAttributes,
  decodeWrite,
  entryAnswer,
  HEADER,
  initAnswer,
  namesAnswer,
  OPCODES,
  ROOT,
  seekAnswer,
  statfsAnswer,
  writeAnswer,
  type Attributes,
  type Limits,
  type Name,
  type Range,
  type Request,
} from './wire.js';

export interface DeviceFile {
  /** One name, of at most 255 bytes. */
  readonly name: string;
  /** Without `write`, the file is read-only. */
  readonly device: BlockBackend;
}

/** Answers a request. @returns undefined for a request without an answer. @throws Error with a `code` */
export type Answerer = (request: Request) => MaybePromise<Buffer | undefined>;

export interface FilesOptions {
  readonly limits: Limits;
  /** Of what is read. */
  readonly buffers: Buffers;
  /** Others than the owner may read. Default false. */
  readonly forOthers?: boolean;
}

const [FOLDER, FILE] = [0o040000, 0o100000] as const;
const [FOLDER_ENTRY, FILE_ENTRY] = [4, 8] as const;
const MAX_NAME = 255;

/** @throws Error with the code EINVAL for a name that no file can have, or that two files have */
export function checkNames(files: readonly DeviceFile[]): void {
  const names = new Set<string>();
  for (const { name } of files) {
    const isName = name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name);
    if (!isName || Buffer.byteLength(name) > MAX_NAME)
      throw failure('EINVAL', `${JSON.stringify(name)}: no name of a file`);
    if (names.has(name)) throw failure('EINVAL', `two files are called ${JSON.stringify(name)}`);
    names.add(name);
  }
}

export function filesystem(
  given: readonly DeviceFile[],
  { limits, buffers, forOthers = false }: FilesOptions,
): Answerer {
  const files = given.map(({ name, device }) => ({ name: Buffer.from(name), device: aligned(device) }));
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  const time = Date.now();
  const readable = forOthers ? 0o444 : 0o400;
  const size = files.reduce((sum, { device }) => sum + device.size, 0);
  const nodeOf = (index: number): number => ROOT + 1 + index;
  const names: Name[] = [
    ...['.', '..'].map((name) => ({ node: ROOT, name: Buffer.from(name), type: FOLDER_ENTRY })),
    ...files.map(({ name }, index) => ({ node: nodeOf(index), name, type: FILE_ENTRY })),
  ];

  /** @throws Error with the code ESTALE for a number that no file has */
  function deviceOf(node: number): BlockBackend {
    const device = files[node - ROOT - 1]?.device;
    if (device) return device;
    throw failure(node === ROOT ? 'EISDIR' : 'ESTALE', `the file ${node} is not there`);
  }

  function attributesOf(node: number): Attributes {
    const common = { node, uid, gid, time };
    if (node === ROOT) return { ...common, size: 0, mode: FOLDER | readable | (forOthers ? 0o111 : 0o100) };
    const device = deviceOf(node);
    return { ...common, size: device.size, mode: FILE | readable | (device.write ? 0o200 : 0) };
  }

  const handlers: Readonly<Record<number, Answerer>> = {
    [OPCODES.init]: (request) => initAnswer(request, limits),
    [OPCODES.lookup](request) {
      const wanted = decodeName(request);
      const index = request.node === ROOT ? files.findIndex(({ name }) => name.equals(wanted)) : -1;
      if (index < 0) throw failure('ENOENT', 'no such file');
      return entryAnswer(attributesOf(nodeOf(index)));
    },
    [OPCODES.forget]: () => undefined,
    [OPCODES.batchForget]: () => undefined,
    [OPCODES.getattr]: ({ node }) => attributesAnswer(attributesOf(node)),
    [OPCODES.setattr](request) {
      const { size: wanted, hasOthers } = decodeSetAttributes(request);
      const found = attributesOf(request.node);
      if (hasOthers || (wanted !== undefined && wanted !== found.size))
        throw failure('EPERM', 'a disk keeps its size, its owner and its permissions');
      return attributesAnswer(found);
    },
    [OPCODES.read]: (request) => read(deviceOf(request.node), cut(decodeRead(request), limits), buffers),
    [OPCODES.write](request) {
      const device = deviceOf(request.node);
      const { offset, data } = decodeWrite(request);
      if (!device.write) throw failure('EROFS', 'the disk is read-only');
      if (offset + data.length > device.size) throw failure('ENOSPC', 'behind the end of the disk');
      // The message's buffer is read into again before the device is done.
      return chain(device.write(Buffer.from(data), offset), () => writeAnswer(data.length));
    },
    [OPCODES.fsync]: ({ node }) => chain(node === ROOT ? undefined : deviceOf(node).flush?.(), () => answer(0)),
    [OPCODES.statfs]: () => statfsAnswer(size, files.length),
    [OPCODES.readdir](request) {
      if (request.node !== ROOT) throw failure('ENOTDIR', 'a file has no entries');
      const { offset, size: most } = cut(decodeRead(request), limits);
      return namesAnswer(names, offset, most);
    },
    [OPCODES.fallocate]: (request) => allocate(deviceOf(request.node), decodeAllocate(request)),
    [OPCODES.lseek](request) {
      const { offset, whence } = decodeSeek(request);
      return chain(seek(deviceOf(request.node), offset, whence), seekAnswer);
    },
  };

  return (request) => {
    const handler = handlers[request.opcode];
    if (handler) return handler(request);
    throw failure('ENOSYS', `no request ${request.opcode} here`);
  };
}

const cut = ({ offset, size }: Range, { request }: Limits): Range => ({ offset, size: Math.min(size, request) });

/** As a file is read: less at its end, nothing behind it. */
function read(device: BlockBackend, { offset, size }: Range, buffers: Buffers): MaybePromise<Buffer> {
  const length = Math.max(0, Math.min(size, device.size - offset));
  const message = buffers.take(HEADER + length);
  if (length === 0) return message;
  return chain(device.read(message.subarray(HEADER), offset), () => message);
}

const [KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE] = [1, 2, 16] as const;

/** Zeros, with or without their space. https://man7.org/linux/man-pages/man2/fallocate.2.html */
function allocate(
  device: BlockBackend,
  { offset, size, mode }: ReturnType<typeof decodeAllocate>,
): MaybePromise<Buffer> {
  if (!device.zero) throw failure(device.write ? 'EOPNOTSUPP' : 'EROFS', 'no holes here');
  const kind = mode & ~KEEP_SIZE;
  if (kind !== PUNCH_HOLE && kind !== ZERO_RANGE) throw failure('EOPNOTSUPP', `no fallocate of mode ${mode} here`);
  const length = Math.max(0, Math.min(size, device.size - offset));
  if (length < size && kind === ZERO_RANGE) throw failure('ENOSPC', 'behind the end of the disk');
  return chain(device.zero(offset, length, { mayTrim: kind === PUNCH_HOLE }), () => answer(0));
}

const SEEK_HOLE = 4;
/** Bytes whose extents are asked for at once. */
const STEP = 1 << 30;

/** Where the next data or the next hole begins. https://man7.org/linux/man-pages/man2/lseek.2.html */
async function seek(device: BlockBackend, offset: number, whence: number): Promise<number> {
  if (!device.extents) throw failure('ENOSYS', 'no extents');
  const wantsHole = whence === SEEK_HOLE;
  for (let at = offset; at < device.size; at += STEP) {
    const extents = await device.extents(at, Math.min(STEP, device.size - at));
    const found = extents.find(({ zero, hole }) => (zero && hole) === wantsHole);
    if (found) return found.offset;
  }
  if (wantsHole && offset < device.size) return device.size;
  throw failure('ENXIO', 'nothing follows');
}
