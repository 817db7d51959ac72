/**
 * A slow link in front of a TCP server: each byte comes half a round trip later, and one after the other at the link's speed, in each
 * direction, over all connections. A connection takes a round trip before its first byte. There is no slow start and no loss.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface LinkOptions {
  /** On the loopback. */
  readonly port: number;
  /** Milliseconds. */
  readonly roundTrip: number;
  readonly bytesPerSecond: number;
}

export interface SlowLink {
  readonly port: number;
  /** Bytes that the server has sent since the last call, with their headers. */
  takeBytes(): number;
  close(): Promise<void>;
}

export async function slowLink({ port, roundTrip, bytesPerSecond }: LinkOptions): Promise<SlowLink> {
  const [up, down] = [direction(roundTrip / 2, bytesPerSecond), direction(roundTrip / 2, bytesPerSecond)];
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', noDelay: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
    }
    up.pass(near, far, roundTrip); // for the connection itself
    down.pass(far, near, 0);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    takeBytes: () => down.takeBytes(),
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

/** Bytes that may be on their way before the sender has to wait. */
const WINDOW = 4 << 20;

function direction(delay: number, bytesPerSecond: number) {
  let [free, count] = [0, 0];
  return {
    takeBytes(): number {
      const taken = count;
      count = 0;
      return taken;
    },
    pass(from: Socket, to: Socket, firstDelay: number): void {
      const notBefore = performance.now() + firstDelay;
      /** In the order in which they arrive. */
      const underway: { readonly at: number; readonly length: number; readonly deliver: () => void }[] = [];
      let waiting = 0;

      function send(length: number, deliver: () => void): void {
        free = Math.max(free, performance.now()) + (length / bytesPerSecond) * 1000;
        underway.push({ at: Math.max(free, notBefore) + delay, length, deliver });
        waiting += length;
        if (waiting > WINDOW) from.pause();
        if (underway.length === 1) wait();
      }

      function wait(): void {
        const [next] = underway;
        if (next) setTimeout(deliverDue, Math.max(0, next.at - performance.now()));
      }

      function deliverDue(): void {
        for (let [next] = underway; next && next.at <= performance.now() + 0.5; [next] = underway) {
          underway.shift();
          waiting -= next.length;
          next.deliver();
        }
        if (waiting <= WINDOW) from.resume();
        wait();
      }

      from.on('data', (bytes: Buffer) => {
        count += bytes.length;
        send(bytes.length, () => to.write(bytes));
      });
      from.on('end', () => send(0, () => to.end()));
      from.on('close', () => send(0, () => to.destroySoon()));
    },
  };
}
