/**
 * Serves the kernel's requests for disks from block devices. Bytes go straight between a device's buffer and the
 * kernel's memory; the socket carries only what is wanted.
 */
import { fstatSync, readSync, writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { BlockBackend } from '@nodeos/block';
import { errnoOf } from './errors.js';
import {
  decodeDiskRequest,
  DISK_OPS,
  DISK_REQUEST_MAX,
  encodeCancel,
  encodeDiskReply,
  Messages,
  type DiskRequest,
} from './protocol.js';

const ENODEV = 19;
/** So many large buffers are kept, for the next requests: the pages of a new one cost more than copying into it. */
const KEPT = 8;
/** From so many bytes on a buffer is kept. */
const LARGE = 64 << 10;

export class DiskServer {
  readonly #disks = new Map<number, BlockBackend>();
  readonly #messages = new Messages();
  readonly #kept: Buffer[] = [];
  #pending = 0;
  #isStopped = false;

  /**
   * @param memory the descriptor of the kernel's memory
   * @param failed is told of a message that makes no sense. An error of the socket is the end of the kernel, which says more
   */
  constructor(
    private readonly socket: Socket,
    private readonly memory: number,
    failed: (error: Error) => void,
  ) {
    const { size } = fstatSync(memory);
    socket.on('data', (chunk: Buffer) => {
      try {
        this.#messages.feed(chunk, (message) => void this.#serve(decodeDiskRequest(message, size)));
      } catch (error) {
        failed(error as Error);
      }
    });
  }

  /** How many requests of the kernel's are at work. */
  get pending(): number {
    return this.#pending;
  }

  add(number: number, backend: BlockBackend): void {
    this.#disks.set(number, backend);
  }

  remove(number: number): void {
    this.#disks.delete(number);
  }

  /** Gives up a request for files. */
  cancel(tag: number): void {
    if (this.socket.writable) this.socket.write(encodeCancel(tag));
  }

  /** The kernel's memory is not touched any more. */
  stop(): void {
    this.#isStopped = true;
    this.socket.destroy();
  }

  async #serve(request: DiskRequest): Promise<void> {
    const disk = this.#disks.get(request.disk);
    let error = disk ? 0 : ENODEV;
    this.#pending++;
    try {
      if (disk) await this.#perform(disk, request);
    } catch (thrown) {
      error = errnoOf(thrown);
    }
    this.#pending--;
    if (this.socket.writable) this.socket.write(encodeDiskReply(request.tag, error));
  }

  #perform(disk: BlockBackend, request: DiskRequest): Promise<void> | void {
    const { offset, size } = request;
    switch (request.op) {
      case DISK_OPS.READ:
        return this.#read(disk, request);
      case DISK_OPS.WRITE:
        return this.#write(disk, request);
      case DISK_OPS.FLUSH:
        return disk.flush?.();
      case DISK_OPS.TRIM:
        return disk.trim?.(offset, size);
      default:
        return disk.zero?.(offset, size);
    }
  }

  /** One request of the device for all segments: they are neighbours on the disk, if not in memory. */
  #read(disk: BlockBackend, { offset, size, segments }: DiskRequest): Promise<void> | void {
    const bytes = this.#buffer(size);
    const done = disk.read(bytes, offset);
    const copy = (): void => {
      if (this.#isStopped) return;
      let at = 0;
      for (const segment of segments) {
        writeFully(this.memory, bytes, at, segment.size, segment.offset);
        at += segment.size;
      }
      this.#keep(bytes);
    };
    return done instanceof Promise ? done.then(copy) : copy();
  }

  #write(disk: BlockBackend, { offset, size, segments }: DiskRequest): Promise<void> | void {
    if (this.#isStopped) return;
    if (!disk.write) throw Object.assign(new Error('the disk is read-only'), { code: 'EROFS' });
    const bytes = this.#buffer(size);
    let at = 0;
    for (const segment of segments) {
      readFully(this.memory, bytes, at, segment.size, segment.offset);
      at += segment.size;
    }
    const done = disk.write(bytes, offset);
    return done instanceof Promise ? done.then(() => this.#keep(bytes)) : this.#keep(bytes);
  }

  #buffer(size: number): Buffer {
    if (size < LARGE) return Buffer.allocUnsafe(size);
    return (this.#kept.pop() ?? Buffer.allocUnsafeSlow(DISK_REQUEST_MAX)).subarray(0, size);
  }

  /** A device is done with the buffer, and has nothing of it. */
  #keep({ buffer, length }: Buffer): void {
    if (length >= LARGE && this.#kept.length < KEPT) this.#kept.push(Buffer.from(buffer));
  }
}

/** Memory is never short: fewer bytes than asked for mean that the kernel is gone. */
export function readFully(fd: number, into: Uint8Array, at: number, length: number, position: number): void {
  if (readSync(fd, into, at, length, position) !== length) throw new Error("the kernel's memory cannot be read");
}

export function writeFully(fd: number, bytes: Uint8Array, at: number, length: number, position: number): void {
  if (writeSync(fd, bytes, at, length, position) !== length) throw new Error("the kernel's memory cannot be written");
}
