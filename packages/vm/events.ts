/** The guest's event channel: JSON lines that PID 1 and the init write to a virtio-serial port. */
import { createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { LineTail } from '@nodeos/base';
import { isGuestEvent, type GuestEvent } from '@nodeos/contract';

/** The host's side of one port of a machine. */
export interface Port {
  /** Sends text to the guest. Does nothing if QEMU is not connected. */
  write(text: string): void;
  close(): Promise<void>;
}

/** Receives bytes. If it returns a promise, it gets no more bytes until the promise settles. */
export type Sink = (chunk: Buffer) => unknown;

/** Forwards a stream to a sink, no faster than the sink accepts. */
export function forward(from: Readable, sink: Sink): void {
  from.on('data', (chunk: Buffer) => {
    const pending = sink(chunk);
    if (!(pending instanceof Promise)) return;
    from.pause();
    void pending.then(() => from.resume());
  });
}

/**
 * Listens on a Unix socket for QEMU, and forwards the bytes that the guest writes. @param greeting text sent to the
 * guest
 */
export async function listenPort(path: string, onData: Sink, greeting = ''): Promise<Port> {
  let peer: Socket | undefined;
  const server = createServer((socket) => {
    peer = socket;
    socket.write(greeting);
    forward(socket, onData);
    socket.on('error', () => undefined); // QEMU was killed
  });
  server.listen(path);
  await once(server, 'listening');
  return {
    write: (text) => {
      if (peer?.writable) peer.write(text);
    },
    close: () =>
      new Promise((resolve) => {
        peer?.destroy();
        server.close(() => resolve());
      }),
  };
}

/** Parses events. The guest is not trusted, so lines that are not events are dropped. */
export function eventParser(onEvent: (event: GuestEvent) => void): Sink {
  const lines = new LineTail(0, (line) => {
    const value = parsed(line);
    if (isGuestEvent(value)) onEvent(value);
  });
  return (chunk) => lines.push(chunk);
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // a partial line of a machine that was killed
  }
}
