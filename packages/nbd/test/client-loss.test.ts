/** The client when every connection is lost. Its servers are behind a socket that outlives them. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { memory, type BlockBackend } from '@nodeos/block';
import { expect, it, onTestFinished } from 'vitest';
import { connectNbd, NbdServer, type ClientOptions, type NbdBackend } from '../index.js';
import { withOverrides, MIB, singleExport, tempDir, until } from './support.js';
import { HELLO, refusal, reply } from './wire.js';

interface Front {
  readonly path: string;
  /** Serves further connections. */
  serve: (socket: Socket) => void;
  /** Breaks all existing connections. */
  cut(): void;
}

async function front(backend: () => BlockBackend): Promise<Front> {
  const sockets = new Set<Socket>();
  const path = join(tempDir(), 'front');
  const listener = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on('error', () => undefined));
    here.serve(socket);
  }).listen(path);
  await once(listener, 'listening');
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  const here: Front = { path, serve: serving(backend), cut };
  onTestFinished(() => {
    cut();
    listener.close();
  });
  return here;
}

function serving(backend: () => BlockBackend): (socket: Socket) => void {
  const server = new NbdServer({ exports: singleExport(backend()) });
  return (socket) => void server.serve(socket);
}

async function opened({ path }: Front, options: ClientOptions): Promise<NbdBackend> {
  const disk = await connectNbd(`nbd+unix:///?socket=${path}`, options);
  onTestFinished(() => disk.close());
  return disk;
}

/** Answers every option with ERR_SHUTDOWN. */
function shuttingDown(socket: Socket): void {
  socket.write(HELLO);
  let bytes = Buffer.alloc(0);
  let at = 4; // behind the client's flags
  socket.on('data', (more: Buffer) => {
    bytes = Buffer.concat([bytes, more]);
    for (; bytes.length >= at + 16; at += 16 + bytes.readUInt32BE(at + 12))
      socket.write(reply(bytes.readUInt32BE(at + 8), refusal(7)));
  });
}

it('the reconnect timeout of a client begins with each loss, even after an idle time', async () => {
  const here = await front(() => memory(MIB));
  const events: string[] = [];
  const disk = await opened(here, { reconnectTimeout: 0.5, onEvent: ({ event }) => events.push(event) });
  for (let losses = 0; losses < 2; losses++) {
    here.cut();
    await until(() => events.at(-1) === 'connected' && events.length === 2 * losses + 3);
    await sleep(700);
  }
  await disk.read(Buffer.alloc(512), 0);
  expect(events).not.toContain('gave-up');
});

it('a client asks again after a server refused it because of a shutdown', async () => {
  const here = await front(() => memory(MIB));
  const disk = await opened(here, { reconnectTimeout: 20 });
  const serve = here.serve;
  let refused = 0;
  here.serve = (socket) => {
    shuttingDown(socket);
    if (++refused === 2) here.serve = serve;
  };
  here.cut();
  await disk.read(Buffer.alloc(512), 0);
  expect(refused).toBe(2);
});

it('a client reports lost writes even if another connection was being made', { timeout: 30_000 }, async () => {
  const slow = (): BlockBackend => {
    const store = memory(MIB);
    return withOverrides(store, {
      write: async (bytes, offset) => {
        await sleep(5);
        await store.write?.(bytes, offset);
      },
    });
  };
  const here = await front(slow);
  const disk = await opened(here, { reconnectTimeout: 20, connections: 4, strictFlush: true });
  const work = { done: false, writes: 0 };
  const writers = Promise.all(
    Array.from({ length: 16 }, async (_, index) => {
      for (; !work.done; work.writes++) await disk.write?.(Buffer.alloc(4096, 1), index * 4096);
    }),
  );
  await until(() => work.writes > 100);
  const held: Socket[] = [];
  here.serve = (socket) => void held.push(socket);
  here.cut();
  await until(() => held.length > 0); // a connection is being made; once that is done, there has always been one
  await sleep(50);
  here.serve = serving(slow);
  for (const socket of held) here.serve(socket);
  const before = work.writes;
  await until(() => work.writes > before + 32);
  work.done = true;
  await writers;
  expect(disk.mayBeLost).toBe(true);
  await expect(disk.flush?.()).rejects.toThrow(/may have lost what was written/);
});

it('a client reports a partly completed request as possibly lost', async () => {
  const gate = { open: (): void => undefined };
  const shut = new Promise<void>((resolve) => (gate.open = resolve));
  let pieces = 0;
  const store = memory(24 * MIB);
  const here = await front(() =>
    withOverrides(store, {
      write: async (bytes, offset) => {
        if (++pieces > 1) await shut;
        await store.write?.(bytes, offset);
      },
    }),
  );
  const disk = await opened(here, { reconnectTimeout: 20, connections: 1, strictFlush: true });
  const writing = disk.write?.(Buffer.alloc(24 * MIB, 1), 0);
  await until(() => pieces > 1);
  await sleep(50);
  here.serve = serving(() => memory(24 * MIB));
  here.cut();
  gate.open();
  await writing;
  expect(disk.mayBeLost).toBe(true);
  await expect(disk.flush?.()).rejects.toThrow(/may have lost what was written/);
});
