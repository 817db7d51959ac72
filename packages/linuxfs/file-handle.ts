/** An open file, with everything that `FileHandle` of `node:fs/promises` has. */
import { EventEmitter } from 'node:events';
import type { BigIntStats, PathLike, ReadStream, Stats, TimeLike, WriteStream } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { ReadableStream } from 'node:stream/web';
import type { RawStat } from './protocol.js';
import { bigIntStatsOf, statsOf } from './stats.js';
import type { Volume } from './volume.js';
import { checkSignal, modeOf, timeOf } from './words.js';

export type Encoded = { readonly encoding?: BufferEncoding | null } | BufferEncoding | null | undefined;

export const encodingOf = (options: Encoded): BufferEncoding | undefined =>
  (typeof options === 'string' ? options : options?.encoding) ?? undefined;

/** @throws TypeError for what is neither text nor bytes */
export function bytesOf(data: string | NodeJS.ArrayBufferView, encoding?: BufferEncoding | null): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data, encoding ?? 'utf8');
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const what = 'The "buffer" argument must be of type string or an instance of Buffer, TypedArray, or DataView.';
  throw Object.assign(new TypeError(`${what} Received ${typeof data}`), { code: 'ERR_INVALID_ARG_TYPE' });
}

/** What makes streams of a descriptor: the class that has callbacks. */
export interface Streams {
  createReadStream(path: PathLike, options?: object): ReadStream;
  createWriteStream(path: PathLike, options?: object): WriteStream;
}

interface ReadOptions {
  readonly buffer?: NodeJS.ArrayBufferView | undefined;
  readonly offset?: number | null | undefined;
  readonly length?: number | null | undefined;
  readonly position?: number | bigint | null | undefined;
}

/** Those of `createReadStream` and `createWriteStream` of `node:fs`. */
type StreamOptions = { readonly autoClose?: boolean } & Readonly<Record<string, unknown>>;

const READ_SIZE = 16384;

export class FileHandle extends EventEmitter {
  /** Where the next read or write without a position is. */
  #position = 0;
  #fd: number;
  #closing: Promise<void> | undefined;

  /** @param appends whether writes go to the end of the file */
  constructor(
    private readonly volume: Volume,
    fd: number,
    private readonly appends: boolean,
    private readonly streams: Streams,
  ) {
    super();
    this.#fd = fd;
  }

  /** The descriptor; -1 when closed. */
  get fd(): number {
    return this.#fd;
  }

  read<T extends NodeJS.ArrayBufferView>(
    buffer?: T | ReadOptions,
    offset?: number | null | ReadOptions,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: T }> {
    const view = ArrayBuffer.isView(buffer);
    const options: ReadOptions = view
      ? { buffer, ...(offset !== null && typeof offset === 'object' ? offset : { offset, length, position }) }
      : (buffer ?? {});
    return this.#read(options) as Promise<{ bytesRead: number; buffer: T }>;
  }

  async #read(options: ReadOptions): Promise<{ bytesRead: number; buffer: NodeJS.ArrayBufferView }> {
    const buffer = options.buffer ?? Buffer.alloc(READ_SIZE);
    const start = options.offset ?? 0;
    const size = options.length ?? buffer.byteLength - start;
    if (start < 0 || size < 0 || start + size > buffer.byteLength) throw outOfRange(start, size, buffer.byteLength);
    const into = new Uint8Array(buffer.buffer, buffer.byteOffset + start, size);
    const given = options.position ?? -1;
    const position = Number(given) < 0 ? this.#position : Number(given);
    const bytesRead = await this.volume.read(this.#fd, into, position);
    if (Number(given) < 0) this.#position += bytesRead;
    return { bytesRead, buffer };
  }

  async readv<T extends readonly NodeJS.ArrayBufferView[]>(
    buffers: T,
    position?: number | null,
  ): Promise<{ bytesRead: number; buffers: T }> {
    let bytesRead = 0;
    for (const buffer of buffers) {
      const at = position === undefined || position === null ? null : position + bytesRead;
      const { bytesRead: count } = await this.#read({ buffer, position: at });
      bytesRead += count;
      if (count < buffer.byteLength) break;
    }
    return { bytesRead, buffers };
  }

  async write<T extends string | NodeJS.ArrayBufferView>(
    data: T,
    offset?: number | null | { offset?: number | null; length?: number | null; position?: number | null },
    length?: number | BufferEncoding | null,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffer: T }> {
    const all = bytesOf(data, typeof length === 'string' ? length : 'utf8');
    if (typeof data === 'string') {
      const at = typeof offset === 'number' ? offset : null;
      return { bytesWritten: await this.#write(all, at), buffer: data };
    }
    const options =
      offset !== null && typeof offset === 'object'
        ? offset
        : { offset, length: typeof length === 'number' ? length : null, position };
    const start = options.offset ?? 0;
    const size = options.length ?? all.length - start;
    if (start < 0 || size < 0 || start + size > all.length) throw outOfRange(start, size, all.length);
    const bytes = all.subarray(start, start + size);
    return { bytesWritten: await this.#write(bytes, options.position ?? null), buffer: data };
  }

  async #write(bytes: Uint8Array, position: number | null, signal?: AbortSignal): Promise<number> {
    const isHere = position === null || position < 0;
    const count = await this.volume.write(this.#fd, bytes, isHere ? this.#position : position, signal);
    if (isHere) this.#position += count;
    return count;
  }

  async writev<T extends readonly NodeJS.ArrayBufferView[]>(
    buffers: T,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffers: T }> {
    const all = Buffer.concat(buffers.map((buffer) => bytesOf(buffer)));
    return { bytesWritten: await this.#write(all, position ?? null), buffers };
  }

  /** From where the last read ended, to the end of the file. */
  async readFile(options: { encoding: BufferEncoding } | BufferEncoding): Promise<string>;
  async readFile(options?: { encoding?: null; signal?: AbortSignal } | null): Promise<Buffer>;
  async readFile(options?: Encoded & { signal?: AbortSignal }): Promise<string | Buffer>;
  async readFile(options?: Encoded & WithSignal): Promise<string | Buffer> {
    const signal = signalOf(options);
    checkSignal(signal);
    checkWhole(await this.volume.stat({ fd: this.#fd }, 'fstat'));
    const chunks: Buffer[] = [];
    for (;;) {
      const buffer = Buffer.allocUnsafeSlow(1 << 20);
      const count = await this.volume.read(this.#fd, buffer, this.#position, signal);
      checkSignal(signal);
      this.#position += count;
      chunks.push(buffer.subarray(0, count));
      if (count < buffer.length) break;
    }
    const all = Buffer.concat(chunks);
    const encoding = encodingOf(options);
    return encoding === undefined ? all : all.toString(encoding);
  }

  /** Writes from where the last write ended. */
  async writeFile(data: WholeData, options?: Encoded & WithSignal): Promise<void> {
    const [encoding, signal] = [encodingOf(options), signalOf(options)];
    checkSignal(signal);
    for await (const bytes of piecesOf(data, encoding)) {
      for (let done = 0; done < bytes.length; checkSignal(signal))
        done += await this.#write(bytes.subarray(done), null, signal);
    }
  }

  async appendFile(data: WholeData, options?: Encoded & WithSignal): Promise<void> {
    if (!this.appends) this.#position = Number((await this.volume.stat({ fd: this.#fd })).size);
    await this.writeFile(data, options);
  }

  stat(options: { bigint: true }): Promise<BigIntStats>;
  stat(options?: { bigint?: false }): Promise<Stats>;
  async stat(options: { bigint?: boolean } = {}): Promise<Stats | BigIntStats> {
    const raw = await this.volume.stat({ fd: this.#fd }, 'fstat');
    return options.bigint ? bigIntStatsOf(raw) : statsOf(raw);
  }

  chmod(mode: string | number): Promise<void> {
    return this.volume.chmod({ fd: this.#fd }, modeOf(mode, 0));
  }

  chown(uid: number, gid: number): Promise<void> {
    return this.volume.chown({ fd: this.#fd }, uid, gid);
  }

  truncate(length = 0): Promise<void> {
    return this.volume.truncate({ fd: this.#fd }, Math.max(0, length));
  }

  utimes(atime: TimeLike, mtime: TimeLike): Promise<void> {
    return this.volume.utimes({ fd: this.#fd }, timeOf(atime), timeOf(mtime));
  }

  /** Durable: the disk has been told to flush. */
  sync(): Promise<void> {
    return this.volume.fsync(this.#fd);
  }

  datasync(): Promise<void> {
    return this.volume.fsync(this.#fd, true);
  }

  createReadStream(options: StreamOptions = {}): ReadStream {
    this.#handOver(options);
    return this.streams.createReadStream('', { ...options, fd: this.#fd });
  }

  createWriteStream(options: StreamOptions = {}): WriteStream {
    this.#handOver(options);
    return this.streams.createWriteStream('', { ...options, fd: this.#fd });
  }

  /** Unless it is told otherwise, a stream closes the descriptor at its end, so this handle does not. */
  #handOver({ autoClose = true }: StreamOptions): void {
    if (autoClose) this.#closing ??= Promise.resolve();
  }

  readLines(options: StreamOptions = {}): Interface {
    return createInterface({ input: this.createReadStream(options), crlfDelay: Infinity });
  }

  readableWebStream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const { bytesRead, buffer } = await this.read({ buffer: Buffer.allocUnsafeSlow(65536) });
        if (bytesRead > 0) controller.enqueue((buffer as Buffer).subarray(0, bytesRead));
        else controller.close();
      },
    });
  }

  /** Closing twice is allowed. */
  close(): Promise<void> {
    this.#closing ??= this.volume.close(this.#fd).finally(() => {
      this.#fd = -1;
      this.emit('close');
    });
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export type WholeData =
  | string
  | NodeJS.ArrayBufferView
  | Iterable<string | NodeJS.ArrayBufferView>
  | AsyncIterable<string | NodeJS.ArrayBufferView>;

type Pieces = Exclude<WholeData, string | NodeJS.ArrayBufferView>;
const isIterable = (data: WholeData | null): data is Pieces =>
  typeof data === 'object' &&
  data !== null &&
  !ArrayBuffer.isView(data) &&
  (Symbol.iterator in data || Symbol.asyncIterator in data);

/** The bytes of what `writeFile` takes, piece by piece. */
export async function* piecesOf(data: WholeData, encoding?: BufferEncoding): AsyncGenerator<Uint8Array> {
  if (!isIterable(data)) yield bytesOf(data, encoding);
  else for await (const piece of data) yield bytesOf(piece, encoding);
}

type WithSignal = { readonly signal?: AbortSignal } | string | null | undefined;
export const signalOf = (options: WithSignal): AbortSignal | undefined =>
  options !== null && typeof options === 'object' ? options.signal : undefined;

/** Node.js reads no larger file at once either; of a damaged image any size may come. */
const WHOLE_MAX = 2n ** 31n - 1n;

/** @throws RangeError if a file is too large to be read at once */
export function checkWhole({ size }: RawStat): void {
  if (size <= WHOLE_MAX) return;
  const error = new RangeError(`File size (${size}) is greater than 2 GiB`);
  throw Object.assign(error, { code: 'ERR_FS_FILE_TOO_LARGE' });
}

function outOfRange(start: number, size: number, most: number): RangeError {
  const error = new RangeError(`${size} bytes at ${start} are outside a buffer of ${most} bytes`);
  return Object.assign(error, { code: 'ERR_OUT_OF_RANGE' });
}
