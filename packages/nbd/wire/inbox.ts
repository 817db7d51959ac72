/**
 * Puts the bytes that arrive at a socket where they are needed: a header into a small buffer, a payload straight into
 * its own buffer. Callbacks drive the parser (`next`), without a promise per request; the handshake uses `read`.
 *
 * A socket made with `onread` fills the buffers that the inbox provides, so the kernel writes a payload to its final
 * place. Chunks of other streams are copied.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connectionLost } from './errors.js';
import { translateTlsError } from './tls-errors.js';

/** Bytes to take from the socket at once while nothing larger is expected. */
const STAGING = 128 << 10;
const NOTHING = Buffer.alloc(0);

export class Inbox {
  #socket: Duplex | undefined;
  #target: Buffer | undefined;
  #filled = 0;
  #onFilled: () => void = () => undefined;
  #fail: ((error: Error) => void) | undefined;
  /** The reason why nothing more arrives. */
  #ended: Error | undefined;
  #onEnd: (() => void) | undefined;
  #discarding = false;
  /** Bytes that arrived before they were requested. */
  #unread: Buffer = NOTHING;
  #paused = false;
  #delivering = false;
  #staging: Buffer | undefined;
  /** Whether the socket fills the target itself, not the staging buffer. */
  #isDirect = false;

  /** For the `onread` option of a socket that is passed to `attach` later. */
  readonly onread = {
    buffer: (): Buffer => {
      const target = this.#target;
      this.#isDirect = target !== undefined && target.length - this.#filled >= STAGING;
      if (this.#isDirect && target) return target.subarray(this.#filled);
      return (this.#staging ??= Buffer.allocUnsafeSlow(STAGING));
    },
    callback: (length: number, bytes: Uint8Array): boolean => {
      if (this.#isDirect) {
        this.#filled += length;
        this.#deliver(NOTHING);
      } else this.#deliver((bytes as Buffer).subarray(0, length));
      return true;
    },
  };

  attach(socket: Duplex): void {
    this.#socket = socket;
    socket
      .on('error', this.#end)
      .on('end', this.#end)
      .on('close', () => this.#end());
    if (!(socket instanceof Socket && hasOwnBuffers(socket))) socket.on('data', this.#chunk);
    socket.resume();
  }

  /** Bytes of the target that have arrived. */
  get filled(): number {
    return this.#filled;
  }

  /** Releases the socket for another layer. @returns the number of bytes that arrived but were not requested */
  detach(): number {
    this.#socket?.off('data', this.#chunk).off('end', this.#end).pause();
    this.#socket = undefined;
    return this.#unread.length;
  }

  /** Calls back when the target is full. There is one target at a time; the callback may set the next one. */
  next(target: Buffer, callback: () => void): void {
    this.#target = target;
    this.#filled = 0;
    this.#onFilled = callback;
    if (!this.#delivering) this.#continue();
  }

  /**
   * @throws Error if the connection ends first: the socket's error (from Node.js, or the one that our own side
   * destroyed it with, such as the ProtocolError for a slow client), or an error that the peer closed it
   */
  read(length: number): Promise<Buffer> {
    const target = Buffer.allocUnsafe(length);
    return this.#failsOnEnd((callback) => this.next(target, callback)).then(() => target);
  }

  /** Reads and discards bytes. */
  skip(length: number, callback: () => void, trash = Buffer.allocUnsafe(Math.min(length, STAGING))): void {
    if (length === 0) return callback();
    const part = trash.subarray(0, length);
    this.next(part, () => this.skip(length - part.length, callback, trash));
  }

  /** @throws Error if the connection ends first */
  skipAsync(length: number): Promise<void> {
    return this.#failsOnEnd((callback) => this.skip(length, callback));
  }

  /** Calls back once, when the peer has ended the connection and everything before that has been taken. */
  onEnd(callback: () => void): void {
    this.#onEnd = callback;
    this.#settle();
  }

  /** Discards further bytes. They are still read, so that the end is noticed. */
  discard(): void {
    this.#target = undefined;
    this.#onEnd = undefined;
    this.#unread = NOTHING;
    this.#paused = false;
    this.#discarding = true;
    if (!this.#delivering) this.#socket?.resume();
  }

  /** Stops reading. @returns the part of the target that has arrived, and all bytes after it */
  reclaim(): Buffer {
    const received = this.#target?.subarray(0, this.#filled) ?? NOTHING;
    const bytes = Buffer.concat([received, this.#unread]);
    this.#target = undefined;
    this.#unread = NOTHING;
    return bytes;
  }

  /** Inserts bytes that arrived elsewhere, before all bytes that arrive here from now on. */
  unshift(bytes: Buffer): void {
    this.#unread = Buffer.concat([bytes, this.#unread]);
  }

  /** Makes no more callbacks until `resume` and `next`. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  #continue(): void {
    this.#deliver(this.#unread);
    if (this.#unread.length === 0 && !this.#paused) this.#socket?.resume();
    this.#settle();
  }

  readonly #chunk = (bytes: Buffer): void => this.#deliver(bytes);

  readonly #end = (error?: Error): void => {
    this.#ended ??= error ? translateTlsError(error) : connectionLost('the peer closed the connection');
    this.#settle();
  };

  #failsOnEnd(begin: (callback: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      begin(() => {
        this.#fail = undefined;
        resolve();
      });
    });
  }

  /** Reports the end once nothing more arrives and nothing is left. */
  #settle(): void {
    if (!this.#ended || this.#paused || this.#unread.length > 0 || this.#delivering) return;
    const [fail, onEnd] = [this.#fail, this.#onEnd];
    this.#fail = this.#onEnd = undefined;
    fail?.(this.#ended);
    onEnd?.();
  }

  #deliver(bytes: Buffer): void {
    if (this.#delivering) throw new Error('the inbox was entered twice');
    this.#delivering = true;
    let at = 0;
    try {
      while (this.#target && !this.#paused) {
        const count = Math.min(this.#target.length - this.#filled, bytes.length - at);
        if (count > 0) bytes.copy(this.#target, this.#filled, at, at + count);
        at += count;
        this.#filled += count;
        if (this.#filled < this.#target.length) break;
        this.#target = undefined;
        this.#onFilled();
      }
    } finally {
      this.#delivering = false;
    }
    if (this.#discarding) return;
    this.#unread = at === bytes.length ? NOTHING : bytes.subarray(at);
    if (this.#unread.length > 0 || this.#paused) this.#socket?.pause();
  }
}

const owners = new WeakSet<Socket>();
export const hasOwnBuffers = (socket: Socket): boolean => owners.has(socket);
/** Marks a socket that was made with the inbox's `onread`. */
export function markOwnBuffers<S extends Socket>(socket: S): S {
  owners.add(socket);
  return socket;
}

/**
 * The same accepted connection as a socket that fills the inbox's buffers. Node.js offers `onread` only for sockets
 * that connect, not for accepted ones, so the handle moves to a new socket (the server needs pauseOnConnect). Without a
 * handle to move, the socket is returned unchanged, and its chunks are copied.
 */
export function withOwnBuffers(accepted: Socket, inbox: Inbox): Socket {
  const holder = accepted as Socket & { _handle?: { useUserBuffer?: unknown } | null; _server?: unknown };
  const handle = holder._handle;
  if (typeof handle?.useUserBuffer !== 'function') return accepted;
  const options = { handle, onread: inbox.onread, allowHalfOpen: true };
  const socket = new Socket(options);
  // The server uses this property to count its connections.
  Object.assign(socket, { _server: holder._server });
  holder._handle = holder._server = null;
  return markOwnBuffers(socket);
}
