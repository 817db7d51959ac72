/** The guest's side channel: JSON lines that PID 1 and the init write to a virtio-serial port. */
import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { LineTail } from '@nodeos/build';

export interface GuestEvent {
  /** Microseconds since the guest's kernel started. */
  readonly us: number;
  /** `pid1`, `node`, `step`, `app`, `exec`, `repl`, `start`, `exit`, `gave-up`, `stop`, `end`, `renewed`. */
  readonly event: string;
  readonly [detail: string]: unknown;
}

/** Listens on a Unix socket for QEMU, and hands on the bytes of one port. */
export async function listenPort(path: string, onData: (chunk: Buffer) => void): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('data', onData);
    socket.on('error', () => undefined); // QEMU was killed
  });
  server.listen(path);
  await once(server, 'listening');
  return server;
}

/** The guest is not to be trusted with what it writes: lines that are no events are dropped. */
export function eventParser(onEvent: (event: GuestEvent) => void): (chunk: Buffer) => void {
  const lines = new LineTail(0, (line) => {
    try {
      const value = JSON.parse(line) as GuestEvent;
      if (typeof value === 'object' && typeof value.event === 'string') onEvent(value);
    } catch {
      // half a line of a machine that was killed
    }
  });
  return (chunk) => lines.push(chunk);
}
