/** The client against other servers and our own. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { memory, type BlockBackend } from '@nodeos/block';
import { afterAll, afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { behavesAsBlockBackend } from '../../block/test/contract.js';
import { freePort } from '../../block/test/helpers.js';
import { connectNbd, Handshake, NbdServer, parseUri, RefusedError, type ClientOptions } from '../index.js';
import { requirePrograms, output, startServer, until } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'nodeos-nbd-client-'));
const servers = new Set<NbdServer>();
afterEach(async () => {
  await Promise.all([...servers].map((server) => server.close(0)));
  servers.clear();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
const socketPath = (): string => join(folder, `${count++}.sock`);
const uriOf = (socket: string, name = ''): string => `nbd+unix:///${name}?socket=${socket}`;
const pattern = (length: number, seed = 1): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31 + seed * 7 + (index >> 8)) & 0xff));

async function ours(backend: () => BlockBackend, socket = socketPath()): Promise<string> {
  const server = new NbdServer({ exports: { '': { open: backend } } });
  servers.add(server);
  await server.listen({ path: socket });
  return uriOf(socket);
}

/** Writes, reads, and compares the capabilities of the server. */
async function exercised(uri: string, options: ClientOptions = {}): Promise<string> {
  const disk = await connectNbd(uri, { reconnectTimeout: 0, ...options });
  const bytes = pattern(5856 * 512);
  await disk.write?.(bytes, 4096);
  const small = Array.from({ length: 200 }, (_, index) => pattern(512, index));
  await Promise.all(small.map(async (one, index) => disk.write?.(one, 4_000_000 - (4_000_000 % 512) + index * 512)));
  await disk.flush?.();
  const read = Buffer.alloc(bytes.length);
  await disk.read(read, 4096);
  expect(read.equals(bytes)).toBe(true);
  for (const [index, one] of small.entries()) {
    const again = Buffer.alloc(512);
    await disk.read(again, 4_000_000 - (4_000_000 % 512) + index * 512);
    expect(again.equals(one), `piece ${index}`).toBe(true);
  }
  await disk.zero?.(8192, 65536);
  await disk.read(read, 4096);
  if (disk.zero) expect(read.subarray(4096, 4096 + 65536).every((byte) => byte === 0)).toBe(true);
  await disk.trim?.(8192, 4096);
  const extents = await disk.extents?.(0, disk.size);
  if (extents) expect(extents.reduce((sum, { length }) => sum + length, 0)).toBe(disk.size);
  await disk.close();
  return disk.mode;
}

const NBDKIT: readonly (readonly [what: string, mode: string, args: string[]])[] = [
  ['as it comes', 'structured', ['memory', '16M']],
  ['without structured replies', 'simple', ['--no-sr', 'memory', '16M']],
  ['without fixed newstyle', 'simple', ['--mask-handshake=0', 'memory', '16M']],
  [
    'with answers that come late and in another order',
    'structured',
    ['--filter=delay', 'memory', '16M', 'rdelay=5ms', 'wdelay=3ms'],
  ],
  [
    'that wants blocks',
    'structured',
    [
      '--filter=blocksize-policy',
      'memory',
      '16M',
      'blocksize-minimum=512',
      'blocksize-maximum=64K',
      'blocksize-error-policy=error',
    ],
  ],
];

describe('the client with nbdkit', () => {
  it.each(NBDKIT)('works %s', async (_what, mode, args) => {
    const socket = socketPath();
    await startServer(socket, 'nbdkit', '-f', '-U', socket, ...args);
    expect(await exercised(uriOf(socket))).toBe(mode);
  });

  it('works with oldstyle, which has no options', async () => {
    const socket = socketPath();
    await startServer(socket, 'nbdkit', '-f', '-o', '-U', socket, 'memory', '1M');
    const disk = await connectNbd(uriOf(socket), { reconnectTimeout: 0 });
    expect([disk.mode, disk.size]).toEqual(['oldstyle', 1 << 20]);
    await disk.write?.(pattern(4096), 0);
    const read = Buffer.alloc(4096);
    await disk.read(read, 0);
    expect(read.equals(pattern(4096))).toBe(true);
    await disk.close();
  });

  it("reports the server's error code, and keeps the connection", async () => {
    const socket = socketPath();
    const trigger = join(folder, 'trigger');
    writeFileSync(trigger, '');
    const args = [
      '--filter=error',
      'memory',
      '1M',
      'error-pread=EIO',
      'error-pread-rate=100%',
      `error-pread-file=${trigger}`,
    ];
    await startServer(socket, 'nbdkit', '-f', '-U', socket, ...args);
    const disk = await connectNbd(uriOf(socket), { reconnectTimeout: 0 });
    const read = async (): Promise<void> => disk.read(Buffer.alloc(4096), 8192);
    await expect(read()).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('READ of 4096 bytes at 8192') as string,
    });
    rmSync(trigger);
    await read();
    await disk.close();
  });
});

describe('the client with other servers', () => {
  it('works with qemu-nbd', async () => {
    const [socket, file] = [socketPath(), join(folder, 'qemu.disk')];
    writeFileSync(file, Buffer.alloc(16 << 20));
    await startServer(socket, 'qemu-nbd', '-t', '-f', 'raw', '-x', 'disk', '-k', socket, file);
    expect(await exercised(uriOf(socket, 'disk'))).toBe('structured');
    await expect(connectNbd(uriOf(socket, 'nothing'), { reconnectTimeout: 0 })).rejects.toThrow(
      /GO was refused: ERR_UNKNOWN/,
    );
  });

  it('works with nbd-server', async () => {
    const [socket, file, settings] = [socketPath(), join(folder, 'server.disk'), join(folder, 'server.conf')];
    writeFileSync(file, Buffer.alloc(16 << 20));
    const port = await freePort(); // required, although only the socket is used
    writeFileSync(
      settings,
      `[generic]\nunixsock = ${socket}\nport = ${port}\nallowlist = true\n[disk]\nexportname = ${file}\n`,
    );
    // It serves more than one client only as a background process.
    const pidFile = join(folder, 'server.pid');
    await startServer(socket, 'nbd-server', '-C', settings, '-p', pidFile);
    onTestFinished(() => void process.kill(Number(readFileSync(pidFile, 'utf8'))));
    await exercised(uriOf(socket, 'disk'));
    const disk = await connectNbd(uriOf(socket, 'disk'), { reconnectTimeout: 0 });
    expect(Object.hasOwn(disk, 'flush')).toBe(false); // the default of nbd-server
    await disk.close();
    const handshake = await Handshake.begin(parseUri(uriOf(socket)), {});
    expect((await handshake.list()).map(({ name }) => name)).toContain('disk');
    handshake.disconnect();
  });

  it('passes on that nbdkit does not support flush', async () => {
    requirePrograms('nbdkit', 'nbdinfo');
    const [socket, file] = [socketPath(), join(folder, 'unflushed.disk')];
    writeFileSync(file, Buffer.alloc(1 << 20));
    const scripts = [
      `get_size=stat -Lc %s ${file}`,
      `pread=dd if=${file} skip=$4 count=$3 iflag=count_bytes,skip_bytes status=none`,
      `pwrite=dd of=${file} seek=$4 conv=notrunc oflag=seek_bytes status=none`,
      ...['can_write=exit 0', 'can_flush=exit 3', 'can_fua=echo none'],
    ];
    await startServer(socket, 'nbdkit', '-f', '-U', socket, 'eval', ...scripts);
    const behind = await connectNbd(uriOf(socket), { reconnectTimeout: 0 });
    expect(Object.hasOwn(behind, 'flush')).toBe(false);
    await behind.write?.(pattern(512), 512);
    const again = await ours(() => behind);
    const told = JSON.parse(await output('nbdinfo', '--json', again)) as { exports: object[] };
    expect(told.exports).toMatchObject([{ is_read_only: false, can_flush: false, can_fua: false }]);
    await behind.close();
    expect(readFileSync(file).subarray(512, 1024).equals(pattern(512))).toBe(true);
  });

  it('refuses a peer that is not an NBD server', async () => {
    const socket = socketPath();
    await startServer(
      socket,
      process.execPath,
      '-e',
      `require('net').createServer((s) => s.on('error', () => 0).end('HTTP/1.1 400 Bad Request\\r\\n\\r\\n')).listen(${JSON.stringify(socket)})`,
    );
    await expect(connectNbd(uriOf(socket), { reconnectTimeout: 0 })).rejects.toThrow('this is not an NBD server');
    await expect(connectNbd(uriOf(join(folder, 'nobody')), { reconnectTimeout: 0 })).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });
});

describe('the client with our own server', () => {
  it.each([
    ['extended', {}],
    ['structured', { extended: false }],
    ['simple', { structured: false }],
  ] as const)('works with %s headers', async (mode, features) => {
    const uri = await ours(() => memory(16 << 20));
    expect(await exercised(uri, { features })).toBe(mode);
  });

  it('lists the exports', async () => {
    const socket = socketPath();
    const server = new NbdServer({
      exports: { one: { open: () => memory(1 << 20), description: 'the first' }, two: { open: () => memory(2 << 20) } },
    });
    servers.add(server);
    await server.listen({ path: socket });
    const handshake = await Handshake.begin(parseUri(uriOf(socket)), {});
    expect(await handshake.list()).toEqual([{ name: 'one', description: 'the first' }, { name: 'two' }]);
    expect(await handshake.getInfo('two')).toMatchObject({ name: 'two', size: 2 << 20, contexts: ['base:allocation'] });
    await expect(handshake.getInfo('three')).rejects.toBeInstanceOf(RefusedError);
    handshake.disconnect();
  });

  for (const [mode, features] of [
    ['extended', {}],
    ['simple', { structured: false }],
  ] as const) {
    const methods = ['write', 'flush', 'trim', 'zero', 'resize'] as const;
    behavesAsBlockBackend({
      name: `a remote device with ${mode} headers`,
      methods: mode === 'simple' ? methods : [...methods, 'extents'],
      runs: 20,
      async make(content) {
        const device = memory(content.length);
        await device.write?.(content, 0);
        return connectNbd(await ours(() => device), { features, reconnectTimeout: 0 });
      },
    });
  }
});

it('the signal of a client ends opening, but not open connections', async () => {
  const socket = socketPath();
  await startServer(
    socket,
    process.execPath,
    '-e',
    `require('net').createServer(() => 0).listen(${JSON.stringify(socket)})`,
  );
  const stop = new AbortController();
  const opening = connectNbd(uriOf(socket), { signal: stop.signal });
  setTimeout(() => stop.abort(new Error('enough')), 50);
  await expect(opening).rejects.toThrow('enough');
  await expect(connectNbd(uriOf(socket), { signal: stop.signal })).rejects.toThrow('enough');
  const later = new AbortController();
  const disk = await connectNbd(await ours(() => memory(4096)), { signal: later.signal, reconnectTimeout: 0 });
  later.abort();
  await disk.read(Buffer.alloc(512), 0);
  await disk.close();
});

/** Starts nbdkit with a delay for requests. */
const startDelayed = (socket: string, ...words: string[]): Promise<ChildProcess> =>
  startServer(socket, 'nbdkit', '-f', '-U', socket, '--filter=delay', ...words);

describe('a server that goes away', () => {
  it('gets unanswered requests again when it comes back', { timeout: 60_000 }, async () => {
    const [socket, file] = [socketPath(), join(folder, 'again.disk')];
    writeFileSync(file, Buffer.alloc(16 << 20));
    const start = (): Promise<ChildProcess> => startDelayed(socket, 'file', file, 'delay-read=5ms', 'delay-write=5ms');
    let server = await start();
    const events: string[] = [];
    const disk = await connectNbd(uriOf(socket), { connections: 3, onEvent: ({ event }) => events.push(event) });
    const blocks = Array.from({ length: 600 }, (_, index) => index);
    const work = { done: false };
    const killing = (async () => {
      for (let kills = 0; kills < 5 && !work.done; kills++) {
        await sleep(60);
        server.kill('SIGKILL');
        await once(server, 'close');
        rmSync(socket, { force: true });
        await sleep(80);
        server = await start();
      }
    })();
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let block = blocks.shift(); block !== undefined; block = blocks.shift()) {
          await disk.write?.(pattern(4096, block), block * 4096);
          const read = Buffer.alloc(4096);
          await disk.read(read, block * 4096);
          expect(read.equals(pattern(4096, block)), `block ${block}`).toBe(true);
        }
      }),
    );
    work.done = true;
    await killing;
    expect(events.filter((event) => event === 'lost').length).toBeGreaterThan(1);
    await disk.close();
  });

  it('makes requests fail once the reconnect timeout is over', async () => {
    const socket = socketPath();
    const server = await startDelayed(socket, 'memory', '1M', 'rdelay=60');
    const disk = await connectNbd(uriOf(socket), { reconnectTimeout: 0.3 });
    const reading = disk.read(Buffer.alloc(512), 0);
    await sleep(50);
    server.kill('SIGKILL');
    await expect(reading).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('the NBD server is gone') as string,
    });
    await disk.close();
  });

  it('is not used any more if it comes back with another export', async () => {
    const socket = socketPath();
    const server = await startServer(socket, 'nbdkit', '-f', '-U', socket, 'memory', '1M');
    const disk = await connectNbd(uriOf(socket));
    server.kill('SIGKILL');
    await once(server, 'close');
    rmSync(socket, { force: true });
    await startServer(socket, 'nbdkit', '-f', '-U', socket, 'memory', '2M');
    await expect(Promise.resolve(disk.read(Buffer.alloc(512), 0))).rejects.toThrow(
      /had 1048576 bytes, and has 2097152 now/,
    );
    await disk.close();
  });

  it('is not connected to again if it violated the protocol, and links being made are given up', async () => {
    const [server, front] = [socketPath(), socketPath()];
    await ours(() => memory(1 << 20), server);
    const through = (socket: Socket): Socket => socket.pipe(connect(server)).pipe(socket);
    const arrived: Socket[] = [];
    const listener = createServer((socket) => {
      arrived.push(socket.on('error', () => undefined));
      if (arrived.length === 1) through(socket); // the others wait for the handshake
    }).listen(front);
    onTestFinished(() => {
      listener.close();
      for (const socket of arrived) socket.destroy();
    });
    const disk = await connectNbd(uriOf(front), { connections: 3 });
    const read = async (): Promise<void> => disk.read(Buffer.alloc(512), 0);
    await Promise.all([read(), read(), read()]);
    await until(() => arrived.length === 3);
    const [first, second, third] = arrived as [Socket, Socket, Socket];
    first.write(Buffer.alloc(64, 'nonsense'));
    await once(first, 'close');
    await expect(read()).rejects.toMatchObject({ code: 'EIO' });
    second.destroy();
    through(third);
    await once(third, 'close');
    await sleep(100);
    expect(arrived.length).toBe(3);
    await disk.close();
  });
});
