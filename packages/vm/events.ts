/** The guest's side channel: JSON lines that PID 1 and the init write to a virtio-serial port. */
import { createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { LineTail } from '@nodeos/base';
import { isGuestEvent, type GuestEvent } from '@nodeos/contract';

/** One port of a machine, on the host's side. */
export interface Port {
  /** Does nothing if QEMU is not connected. */
  write(text: string): void;
  close(): Promise<void>;
}

/** Takes bytes. It may return a promise: until that is settled, it gets no more. */
export type Sink = (chunk: Buffer) => unknown;

/** Hands on what comes from a stream, as fast as the sink takes it. */
export function pour(from: Readable, sink: Sink): void {
  from.on('data', (chunk: Buffer) => {
    const full = sink(chunk);
    if (!(full instanceof Promise)) return;
    from.pause();
    void full.then(() => from.resume());
  });
}

/** Listens on a Unix socket for QEMU, and hands on the bytes that the guest writes. @param greeting what the guest can read */
export async function listenPort(path: string, onData: Sink, greeting = ''): Promise<Port> {
  let peer: Socket | undefined;
  const server = createServer((socket) => {
    peer = socket;
    socket.write(greeting);
    pour(socket, onData);
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

/** The guest is not to be trusted with what it writes: lines that are no events are dropped. */
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
    return undefined; // half a line of a machine that was killed
  }
}
