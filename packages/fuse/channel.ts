/**
 * The kernel's requests, from /dev/fuse to the filesystem and back. Requests are read one after the other, without
 * waiting while there are any, and answered as soon as their work is done: any number at once, in any order.
 */
import { closeSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { codeOf } from '@nodeos/base';
import { isPromise } from '@nodeos/block';
import type { Answerer } from './files.js';
import { EAGAIN, EINTR, EIO, ENODEV, ENOENT, type System } from './system.js';
import { decodeRequest, HEADER, seal, WRITE_OVERHEAD, type Request } from './wire.js';

export interface Channel {
  /** Done when the filesystem is unmounted and nobody uses it any more, or after `close`. */
  readonly ended: Promise<void>;
  /** Ends everything at once: whoever uses the filesystem gets errors. Synchronous, so that it also works at the exit. */
  close(): void;
}

export interface ChannelOptions {
  /** Of the open /dev/fuse, which never blocks. Is closed at the end. */
  readonly fd: number;
  /** Bytes of data in a request. */
  readonly most: number;
  readonly answerer: Answerer;
  /** Told of an answer that is sent. */
  readonly onSent: (message: Buffer) => void;
  /** Told of requests that failed for another reason than that the kernel asked in vain. */
  readonly onError: (error: unknown) => void;
}

/** Requests that are read before others have a turn. */
const IN_A_ROW = 32;
/** What a kernel may ask without anything being wrong. */
const EXPECTED: ReadonlySet<string> = new Set(['ENOSYS', 'ENOENT', 'EPERM', 'EROFS', 'ENOSPC', 'EOPNOTSUPP', 'ENXIO']);

export function channel({ fd, most, answerer, onSent, onError }: ChannelOptions, system: System): Channel {
  const buffer = Buffer.allocUnsafeSlow(most + WRITE_OVERHEAD);
  const wake = system.eventDescriptor();
  let isOpen = true;
  let isClosed = false;

  function send(message: Buffer): void {
    if (isClosed) return;
    try {
      writeSync(fd, message);
    } catch (error) {
      // ENOENT: nobody waits for this answer any more. ENODEV: unmounted.
      if (!['ENOENT', 'ENODEV'].includes(codeOf(error) ?? '')) onError(error);
    }
    onSent(message);
  }

  function fail({ unique }: Request, error: unknown): void {
    const code = codeOf(error) ?? 'EIO';
    if (!EXPECTED.has(code)) onError(error);
    send(seal(Buffer.alloc(HEADER), unique, (constants.errno as Readonly<Record<string, number>>)[code] ?? EIO));
  }

  function handle(request: Request): void {
    const finish = (answer: Buffer | undefined): void => {
      if (answer) send(seal(answer, request.unique));
    };
    try {
      const answer = answerer(request);
      if (isPromise(answer)) answer.then(finish).catch((error: unknown) => fail(request, error));
      else finish(answer);
    } catch (error) {
      fail(request, error);
    }
  }

  async function run(): Promise<void> {
    for (let inARow = 0; isOpen;) {
      const length = system.read(fd, buffer);
      if (length === -ENODEV) return;
      if (length === -EAGAIN) {
        inARow = 0;
        await system.whenReadable(fd, wake);
      } else if (length > 0) {
        handle(decodeRequest(buffer.subarray(0, length)));
        if (++inARow % IN_A_ROW === 0) await turn();
      } else if (length !== -EINTR && length !== -ENOENT) {
        throw new Error(`/dev/fuse cannot be read: error ${-length}`);
      }
    }
  }

  function close(): void {
    if (isClosed) return;
    isOpen = false;
    isClosed = true;
    // Who waits for requests keeps the device open, and the filesystem alive.
    writeSync(wake, new Uint8Array(new BigUint64Array([1n]).buffer));
    closeSync(fd);
  }

  const ended = run().finally(() => {
    close();
    closeSync(wake);
  });
  return { ended, close };
}
