/**
 * What arrives at a socket, put where it is wanted: a header into a small buffer, a payload straight into its own.
 * The parser is driven by the bytes (`next`), without a promise for each request; the handshake uses `read`.
 *
 * A socket made with `onread` fills the buffers that this gives it, so that the kernel writes a payload to where it
 * stays. Another stream's chunks are copied.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { lost } from './errors.js';
import { inWords } from './tls-errors.js';

/** Bytes taken from the socket at once while nothing larger is wanted. */
const STAGING = 128 << 10;
const NOTHING = Buffer.alloc(0);

export class Inbox {
  #socket: Duplex | undefined;
  #target: Buffer | undefined;
  #filled = 0;
  #then: () => void = () => undefined;
  #fail: ((error: Error) => void) | undefined;
  /** Why nothing more arrives. */
  #ended: Error | undefined;
  #onEnd: (() => void) | undefined;
  #discarding = false;
  /** Arrived, and not wanted yet. */
  #rest: Buffer = NOTHING;
  #paused = false;
  #delivering = false;
  #staging: Buffer | undefined;
  /** What the socket was given to fill: the target, or the staging buffer. */
  #straight = false;

  /** For the `onread` of a socket that `attach` is called with later. */
  readonly onread = {
    buffer: (): Buffer => {
      const target = this.#target;
      this.#straight = target !== undefined && target.length - this.#filled >= STAGING;
      if (this.#straight && target) return target.subarray(this.#filled);
      return (this.#staging ??= Buffer.allocUnsafeSlow(STAGING));
    },
    callback: (length: number, bytes: Uint8Array): boolean => {
      if (this.#straight) {
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

  /** Bytes of the target that are there. */
  get filled(): number {
    return this.#filled;
  }

  /** Lets go of the socket, for another layer to read it. @returns bytes that arrived and were not wanted */
  detach(): number {
    this.#socket?.off('data', this.#chunk).off('end', this.#end).pause();
    this.#socket = undefined;
    return this.#rest.length;
  }

  /** Calls back when the target is full. One target at a time; called again from the call-back for the next. */
  next(target: Buffer, then: () => void): void {
    this.#target = target;
    this.#filled = 0;
    this.#then = then;
    if (!this.#delivering) this.#goOn();
  }

  /**
   * @throws Error if the connection ends before: what the socket failed with (Node.js' error, or what our own side
   * destroyed it with, such as the ProtocolError of a client that is too slow), or that the peer closed it
   */
  read(length: number): Promise<Buffer> {
    const target = Buffer.allocUnsafe(length);
    return this.#orFails((then) => this.next(target, then)).then(() => target);
  }

  /** Reads and forgets. */
  skip(length: number, then: () => void, trash = Buffer.allocUnsafe(Math.min(length, STAGING))): void {
    if (length === 0) return then();
    const part = trash.subarray(0, length);
    this.next(part, () => this.skip(length - part.length, then, trash));
  }

  /** @throws Error if the connection ends before */
  skipped(length: number): Promise<void> {
    return this.#orFails((then) => this.skip(length, then));
  }

  /** Calls back, once, when the peer has ended the connection and all that it sent before has been taken. */
  onEnd(then: () => void): void {
    this.#onEnd = then;
    this.#settle();
  }

  /** What still arrives is of no interest; it is taken, so that the end can be seen. */
  discard(): void {
    this.#target = undefined;
    this.#onEnd = undefined;
    this.#rest = NOTHING;
    this.#paused = false;
    this.#discarding = true;
    if (!this.#delivering) this.#socket?.resume();
  }

  /** Wants nothing more. @returns what has arrived of what was wanted, and all that came after it */
  reclaim(): Buffer {
    const begun = this.#target?.subarray(0, this.#filled) ?? NOTHING;
    const bytes = Buffer.concat([begun, this.#rest]);
    this.#target = undefined;
    this.#rest = NOTHING;
    return bytes;
  }

  /** What arrived elsewhere, before all that arrives here from now on. */
  put(bytes: Buffer): void {
    this.#rest = Buffer.concat([bytes, this.#rest]);
  }

  /** No more call-backs, until `resume` and `next`. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  #goOn(): void {
    this.#deliver(this.#rest);
    if (this.#rest.length === 0 && !this.#paused) this.#socket?.resume();
    this.#settle();
  }

  readonly #chunk = (bytes: Buffer): void => this.#deliver(bytes);

  readonly #end = (error?: Error): void => {
    this.#ended ??= error ? inWords(error) : lost('the peer closed the connection');
    this.#settle();
  };

  #orFails(begin: (then: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      begin(() => {
        this.#fail = undefined;
        resolve();
      });
    });
  }

  /** Once nothing more arrives and nothing is left, whoever waits is told. */
  #settle(): void {
    if (!this.#ended || this.#paused || this.#rest.length > 0 || this.#delivering) return;
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
        this.#then();
      }
    } finally {
      this.#delivering = false;
    }
    if (this.#discarding) return;
    this.#rest = at === bytes.length ? NOTHING : bytes.subarray(at);
    if (this.#rest.length > 0 || this.#paused) this.#socket?.pause();
  }
}

const owners = new WeakSet<Socket>();
export const hasOwnBuffers = (socket: Socket): boolean => owners.has(socket);
/** Says that the socket was made with the inbox's `onread`. */
export function fillsItself<S extends Socket>(socket: S): S {
  owners.add(socket);
  return socket;
}

/**
 * The same accepted connection as a socket that fills the inbox's buffers. Node.js offers `onread` for sockets that
 * connect, not for those that a server accepts (pauseOnConnect must be set there), so the handle changes hands; where
 * there is no handle to take, the socket stays as it is, and its chunks are copied.
 */
export function directly(accepted: Socket, inbox: Inbox): Socket {
  const holder = accepted as Socket & { _handle?: { useUserBuffer?: unknown } | null; _server?: unknown };
  const handle = holder._handle;
  if (typeof handle?.useUserBuffer !== 'function') return accepted;
  const options = { handle, onread: inbox.onread, allowHalfOpen: true };
  const socket = new Socket(options);
  // The server counts its connections by this.
  Object.assign(socket, { _server: holder._server });
  holder._handle = holder._server = null;
  return fillsItself(socket);
}
