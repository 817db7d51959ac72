/** The client over streams that it does not make itself: an HTTP upgrade, pairs in memory. */
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { memory, withClose, type BlockBackend } from '@nodeos/block';
import { expect, it, onTestFinished } from 'vitest';
import { connectNbd, NbdServer } from '../index.js';
import { MIB, pattern, until } from './support.js';

const disk = memory(4 * MIB);
const served = (backend: BlockBackend = disk): NbdServer => {
  const server = new NbdServer({ exports: { disk: { open: () => withClose(backend, () => undefined) } } });
  onTestFinished(() => server.close(0));
  return server;
};

/** One end of a stream whose other end is served. */
function endOf(server: NbdServer): Duplex {
  const ends: Duplex[] = [];
  for (const other of [1, 0])
    ends.push(
      new Duplex({
        read: () => undefined,
        write: (chunk, _encoding, done) => (ends[other]?.push(chunk), done()),
        final: (done) => (ends[other]?.push(null), done()),
        destroy: (error, done) => (ends[other]?.destroyed === false && ends[other].push(null), done(error)),
      }),
    );
  void server.serve(ends[1] as Duplex);
  return ends[0] as Duplex;
}

it('the client works over an HTTP upgrade, and again after that is cut off', async () => {
  const server = served();
  const sockets = new Set<Duplex>();
  const web = createServer((_request, response) => void response.end('a web page')).on('upgrade', (_asked, socket) => {
    sockets.add(socket);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: nbd\r\n\r\n');
    void server.serve(socket);
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void web.close());
  const { port } = web.address() as AddressInfo;
  const stream = (): Promise<Duplex> =>
    new Promise((resolve, reject) => {
      const headers = { Connection: 'Upgrade', Upgrade: 'nbd' };
      const asked = request({ port, host: '127.0.0.1', headers }).on('error', reject).end();
      asked.on('upgrade', (_response, socket, head) => {
        socket.unshift(head);
        resolve(socket);
      });
    });
  const device = await connectNbd('nbd://anywhere/disk', { stream });
  const bytes = pattern(3 * MIB);
  await device.write?.(bytes, 12345);
  for (const socket of sockets) socket.destroy();
  const read = Buffer.alloc(bytes.length);
  await device.read(read, 12345);
  expect(read.equals(bytes)).toBe(true);
  await device.close();
  await until(() => server.metrics.connections.open === 0);
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('a web page');
});

it('the client works over any stream, one per connection', async () => {
  const server = served();
  let made = 0;
  const device = await connectNbd('nbd://x/disk', { stream: () => (made++, endOf(server)), reconnectTimeout: 0 });
  await Promise.all(
    Array.from({ length: 64 }, (_, index) => Promise.resolve(device.read(Buffer.alloc(4096), index * 4096))),
  );
  expect(made).toBeGreaterThan(1);
  expect(device.size).toBe(4 * MIB);
  await device.close();
  await until(() => server.metrics.connections.open === 0);
});

it('the client fails with the error of the function that makes the stream', async () => {
  const stream = (): never => {
    throw Object.assign(new Error('no tunnel'), { code: 'ENOTUNNEL' });
  };
  await expect(connectNbd('nbd://x/disk', { stream })).rejects.toMatchObject({ code: 'ENOTUNNEL' });
});

it('the client destroys a stream that arrives after its signal aborted', async () => {
  const stop = new AbortController();
  const late = new Duplex({ read: () => undefined });
  const opened = connectNbd('nbd://x/disk', { stream: () => sleep(50).then(() => late), signal: stop.signal });
  setTimeout(() => stop.abort(new Error('enough')), 10);
  await expect(opened).rejects.toThrow('enough');
  await until(() => late.destroyed);
});
