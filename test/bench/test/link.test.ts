/** The slow link: what comes, and when at the earliest. A busy machine makes it later. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { collected } from '@nodeos/base';
import { slowLink, type SlowLink } from '../link.js';

const MB = 1e6;
/** Of a length that divides no buffer's. */
const PATTERN = Buffer.from(Uint8Array.from({ length: 251 }, (_, index) => index));
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A server that sends as many bytes as it is asked for, behind a link. */
async function linked(options: { readonly roundTrip: number; readonly bytesPerSecond: number }): Promise<SlowLink> {
  const server = createServer((socket) => {
    socket.once('data', (wanted) => socket.end(contentOf(Number(wanted.toString()))));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  const link = await slowLink({ port: (server.address() as AddressInfo).port, ...options });
  closers.push(() => link.close());
  return link;
}

const contentOf = (length: number): Buffer => Buffer.alloc(length, PATTERN);

async function ask({ port }: SlowLink, length: number): Promise<{ readonly bytes: Buffer; readonly took: number }> {
  const started = performance.now();
  const socket = connect(port, '127.0.0.1');
  socket.write(String(length));
  const bytes = await collected(socket, length + 1, () => new Error('too many'));
  return { bytes, took: performance.now() - started };
}

describe('a slow link', () => {
  test('bytes come whole and in order, a connection and a round trip later, at its speed', async () => {
    const link = await linked({ roundTrip: 40, bytesPerSecond: MB });
    const { bytes, took } = await ask(link, 100_000);
    expect(bytes.equals(contentOf(100_000))).toBe(true);
    expect(took).toBeGreaterThan(40 + 40 + 100 - 2);
    expect(link.takeBytes()).toBe(100_000);
    expect(link.takeBytes()).toBe(0);
  });

  test('two connections share the speed, and not the way', async () => {
    const link = await linked({ roundTrip: 40, bytesPerSecond: MB });
    const started = performance.now();
    const both = await Promise.all([ask(link, 100_000), ask(link, 100_000)]);
    expect(performance.now() - started).toBeGreaterThan(40 + 40 + 200 - 2);
    for (const { bytes } of both) expect(bytes.equals(contentOf(100_000))).toBe(true);
  });

  test('more than may be on the way comes whole', async () => {
    const link = await linked({ roundTrip: 4, bytesPerSecond: 100 * MB });
    const { bytes } = await ask(link, 20 * MB);
    expect(bytes.equals(contentOf(20 * MB))).toBe(true);
  });
});
