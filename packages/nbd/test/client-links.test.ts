/** The client with failing connections, and with servers that go away and come back. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure, memory, overlay, readOnly, type BlockBackend } from '@nodeos/block';
import { describe, expect, it, onTestFinished } from 'vitest';
import { connectNbd, NbdServer, type ClientOptions, type NbdBackend } from '../index.js';
import { withOverrides, withoutClose, KIB, MIB, singleExport, serve, tempDir, until } from './support.js';

const uriOf = (path: string, name = ''): string => `nbd+unix:///${name}?socket=${path}`;

async function opened(uri: string, options: ClientOptions = {}): Promise<NbdBackend> {
  const disk = await connectNbd(uri, { reconnectTimeout: 0, ...options });
  onTestFinished(() => disk.close());
  return disk;
}

/** A backend whose answers are delayed. */
const late = (backend: BlockBackend, milliseconds: number): BlockBackend =>
  withOverrides(backend, {
    read: async (into, offset) => {
      await sleep(milliseconds);
      await backend.read(into, offset);
    },
  });

/** Accepts connections at `path` and passes each to `each`, which decides what happens to it. */
async function front(each: (socket: Socket, count: number) => void): Promise<string> {
  const path = join(tempDir(), 'front');
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    each(socket, sockets.size);
  }).listen(path);
  await once(listener, 'listening');
  onTestFinished(() => {
    listener.close();
    for (const socket of sockets) socket.destroy();
  });
  return path;
}

function through(socket: Socket, path: string): void {
  const other = connect(path).on('error', () => undefined);
  socket.pipe(other).pipe(socket);
  socket.once('close', () => other.destroy());
}

describe('a request in pieces of which one fails', () => {
  const pieces = { minimum: 1, preferred: 4096, maximum: 64 * KIB };

  it('is rejected once nothing writes into its buffer any more', async () => {
    const disk = await opened(
      (
        await serve(
          singleExport(
            withOverrides(memory(MIB), {
              blockSizes: pieces,
              extents: undefined,
              read: async (into, offset) => {
                if (offset === 0) throw failure('EIO', 'a bad sector');
                await sleep(100);
                into.fill(1);
              },
            }),
          ),
        )
      ).uri(),
    );
    const buffer = Buffer.alloc(MIB);
    await expect(disk.read(buffer, 0)).rejects.toMatchObject({ code: 'EIO' });
    buffer.fill(2);
    await sleep(200);
    expect(buffer.every((byte) => byte === 2)).toBe(true);
  });

  it('is rejected once nothing reads from its buffer any more', async () => {
    const store = memory(MIB);
    const backend = withOverrides(store, {
      blockSizes: pieces,
      write: async (bytes, offset) => {
        await sleep(20);
        if (offset === 0) throw failure('ENOSPC', 'full');
        await store.write?.(bytes, offset);
      },
    });
    const disk = await opened((await serve(singleExport(backend))).uri(), { inFlight: 2 });
    const buffer = Buffer.alloc(MIB, 1);
    await expect(disk.write?.(buffer, 0)).rejects.toMatchObject({ code: 'ENOSPC' });
    buffer.fill(2);
    await sleep(200);
    const found = Buffer.alloc(MIB);
    await store.read(found, 0);
    expect(found.includes(2)).toBe(false);
  });
});

describe('the client', () => {
  it('waits for a server that shuts down, as for one that is killed', { timeout: 30_000 }, async () => {
    const path = join(tempDir(), 'socket');
    const store = memory(MIB);
    const start = async (): Promise<NbdServer> => {
      const server = new NbdServer({ exports: { '': { open: () => late(withoutClose(store), 20) } } });
      await server.listen({ path });
      onTestFinished(() => server.close(0));
      return server;
    };
    const first = await start();
    const disk = await opened(uriOf(path), { reconnectTimeout: 20, connections: 1 });
    const work = { done: false, reads: 0 };
    const readers = Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        await sleep(index * 3);
        for (; !work.done; work.reads++) await disk.read(Buffer.alloc(512), 0);
      }),
    );
    await until(() => work.reads > 20);
    await first.close();
    await start();
    const before = work.reads;
    await until(() => work.reads > before + 20);
    work.done = true;
    await readers;
  });

  it('waits no longer than its reconnect timeout for a silent server', async () => {
    const path = await front((socket, count) => {
      if (count === 1) through(socket, there.path);
    });
    const there = await serve(singleExport(memory(MIB)));
    const events: string[] = [];
    const disk = await connectNbd(uriOf(path), { reconnectTimeout: 1, onEvent: ({ event }) => events.push(event) });
    await disk.read(Buffer.alloc(512), 0);
    await there.server.close(0);
    await expect(disk.read(Buffer.alloc(512), 0)).rejects.toThrow(/the server did not answer within/);
    expect(events).toEqual(['connected', 'lost', 'gave-up']);
    await disk.close();
  });

  it('stops waiting for a server once its signal aborts', async () => {
    const stop = new AbortController();
    const there = await serve(singleExport(memory(MIB)));
    const disk = await connectNbd(there.uri(), { reconnectTimeout: 50, signal: stop.signal });
    await there.server.close(0);
    const reading = expect(disk.read(Buffer.alloc(512), 0)).rejects.toMatchObject({ code: 'EIO' });
    await sleep(100);
    stop.abort(new Error('enough'));
    await reading;
    await disk.close();
  });

  it('gives up on a server that drops every connection after a request', async () => {
    const sockets: Socket[] = [];
    const there = await serve(singleExport(withOverrides(memory(MIB), { read: () => void sockets.at(-1)?.destroy() })));
    const path = await front((socket) => {
      sockets.push(socket);
      through(socket, there.path);
    });
    const disk = await connectNbd(uriOf(path), { reconnectTimeout: 1 });
    await expect(disk.read(Buffer.alloc(512), 0)).rejects.toMatchObject({ code: 'EIO' });
    expect(sockets.length).toBeGreaterThan(2);
    expect(sockets.length).toBeLessThan(20);
    await disk.close();
  });

  it('fails the next flush after writes may have been lost, if strictFlush is set', async () => {
    const folder = tempDir();
    const path = join(folder, 'socket');
    const script = `
      import { memory, overlay, readOnly } from '@nodeos/block';
      import { NbdServer } from '@nodeos/nbd';
      const open = () => overlay(readOnly(memory(${MIB})), ${JSON.stringify(join(folder, 'delta'))});
      await new NbdServer({ exports: { '': { open } } }).listen({ path: ${JSON.stringify(path)} });
      console.log('up');`;
    const start = async (): Promise<() => Promise<void>> => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: import.meta.dirname });
      onTestFinished(() => void child.kill('SIGKILL'));
      await once(child.stdout, 'data');
      return async () => {
        child.kill('SIGKILL');
        await once(child, 'close');
        rmSync(path, { force: true });
      };
    };
    let kill = await start();
    const disk = await opened(uriOf(path), { reconnectTimeout: 20, strictFlush: true });
    await disk.write?.(Buffer.alloc(4096, 1), 0);
    await disk.flush?.();
    await kill();
    kill = await start();
    await disk.flush?.(); // nothing was lost
    expect(disk.mayBeLost).toBe(false);
    await disk.write?.(Buffer.alloc(4096, 2), MIB / 2);
    await kill();
    await start();
    await until(() => disk.mayBeLost);
    await expect(disk.flush?.()).rejects.toThrow(/may have lost what was written/);
    expect(disk.mayBeLost).toBe(false);
    await disk.flush?.();
    const found = Buffer.alloc(4096);
    await disk.read(found, 0);
    expect(found.every((byte) => byte === 1)).toBe(true);
    await disk.read(found, MIB / 2);
    expect(found.every((byte) => byte === 0)).toBe(true); // the write is lost indeed
  });
});

describe('connections', () => {
  it('are attempted again if they could not be made', { timeout: 30_000 }, async () => {
    const there = await serve(singleExport(late(memory(MIB), 5)));
    const path = await front((socket, count) => (count === 2 ? socket.destroy() : through(socket, there.path)));
    const disk = await opened(uriOf(path), { connections: 4, reconnectTimeout: 20 });
    const work = { done: false };
    const readers = Promise.all(
      Array.from({ length: 32 }, async () => {
        while (!work.done) await disk.read(Buffer.alloc(512), 0);
      }),
    );
    await until(() => there.server.metrics.connections.open === 4);
    work.done = true;
    await readers;
  });

  it('have at most the given number of unanswered requests', async () => {
    let [now, most] = [0, 0];
    const backend = withOverrides(memory(MIB), {
      read: async () => {
        most = Math.max(most, ++now);
        await sleep(10);
        now--;
      },
    });
    const disk = await opened((await serve(singleExport(backend))).uri(), { connections: 1, inFlight: 5 });
    await Promise.all(Array.from({ length: 40 }, async () => disk.read(Buffer.alloc(512), 0)));
    expect(most).toBe(5);
  });

  it('are closed after the requests under way', async () => {
    let done = 0;
    const backend = withOverrides(memory(MIB), {
      read: async () => {
        await sleep(100);
        done++;
      },
    });
    const disk = await connectNbd((await serve(singleExport(backend))).uri(), { reconnectTimeout: 0 });
    const reading = disk.read(Buffer.alloc(512), 0);
    await disk.close();
    expect(done).toBe(1);
    await reading;
    await expect(disk.read(Buffer.alloc(512), 0)).rejects.toMatchObject({ code: 'EBADF' });
  });
});

describe('an export that comes back', () => {
  /** Serves `before`, loses the connection, serves `after`. */
  async function replaced(before: BlockBackend, after: BlockBackend): Promise<NbdBackend> {
    const path = join(tempDir(), 'socket');
    const first = new NbdServer({ exports: singleExport(before) });
    await first.listen({ path });
    const disk = await opened(uriOf(path), { reconnectTimeout: 10 });
    await first.close(0);
    const second = new NbdServer({ exports: singleExport(after) });
    await second.listen({ path });
    onTestFinished(async () => {
      await second.close(0);
      expect(second.metrics.connections.open).toBe(0);
    });
    return disk;
  }

  const reads = async (disk: NbdBackend): Promise<void> => disk.read(Buffer.alloc(512), 0);

  it.each<[what: string, before: BlockBackend, after: BlockBackend, why: string]>([
    ['without a method', memory(MIB), withOverrides(memory(MIB), { trim: undefined }), 'can do less than before'],
    ['read-only', memory(MIB), readOnly(memory(MIB)), 'can do less than before'],
    [
      'with larger blocks',
      memory(MIB),
      withOverrides(memory(MIB), { blockSizes: { minimum: 4096, preferred: 4096, maximum: MIB } }),
      'takes requests of 4096 to 1048576 bytes now',
    ],
    ['shorter', memory(2 * MIB), memory(MIB), 'had 2097152 bytes, and has 1048576 now'],
    [
      'longer, although it cannot be resized',
      withOverrides(memory(MIB), { resize: undefined }),
      withOverrides(memory(2 * MIB), { resize: undefined }),
      'had 1048576 bytes, and has 2097152 now',
    ],
  ])('is rejected as changed: %s', async (_what, before, after, why) => {
    const disk = await replaced(before, after);
    await expect(reads(disk)).rejects.toThrow(why);
  });

  it('may be longer if it can be resized', async () => {
    const disk = await replaced(memory(MIB), memory(2 * MIB));
    await reads(disk);
    expect(disk.size).toBe(MIB);
  });

  it('may have the size of a resize under way', async () => {
    const store = memory(2 * MIB);
    const path = join(tempDir(), 'socket');
    const start = async (backend: BlockBackend): Promise<NbdServer> => {
      const server = new NbdServer({ exports: singleExport(backend) });
      await server.listen({ path });
      onTestFinished(() => server.close(0));
      return server;
    };
    // Resizes, and disappears before it has answered.
    const first = await start(
      withOverrides(store, {
        resize: async (size) => {
          await store.resize?.(size);
          void first.close(0);
          await sleep(200);
        },
      }),
    );
    const disk = await opened(uriOf(path), { reconnectTimeout: 10 });
    const resizing = disk.resize?.(MIB);
    await until(() => store.size === MIB);
    await until(() => first.metrics.connections.open === 0);
    await start(store);
    await resizing;
    expect(disk.size).toBe(MIB);
    await reads(disk);
  });
});

it('an overlay of a failing device does not write into the buffers of others', async () => {
  const folder = tempDir();
  const up = await serve(
    singleExport(
      withOverrides(memory(4 * MIB), {
        blockSizes: { minimum: 1, preferred: 4096, maximum: 64 * KIB },
        extents: undefined,
        read: async (into, offset) => {
          if (offset === 0) throw failure('EIO', 'a bad sector');
          await sleep(100);
          into.fill(1);
        },
      }),
    ),
  );
  const store = memory(4 * MIB);
  const middle = await serve({
    chain: {
      open: async () => overlay(readOnly(await connectNbd(up.uri(), { reconnectTimeout: 0 })), join(folder, 'delta')),
    },
    other: {
      open: () =>
        withOverrides(withoutClose(store), {
          write: async (bytes, offset) => {
            await sleep(200);
            await store.write?.(bytes, offset);
          },
        }),
    },
  });
  const [a, b] = [await opened(middle.uri('chain')), await opened(middle.uri('other'))];
  await expect(a.read(Buffer.alloc(MIB), 0)).rejects.toMatchObject({ code: 'EIO' });
  await b.write?.(Buffer.alloc(MIB, 2), 0);
  const found = Buffer.alloc(MIB);
  await store.read(found, 0);
  expect(found.every((byte) => byte === 2)).toBe(true);
});
