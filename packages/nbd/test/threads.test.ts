/** Connections served by threads: clients cannot tell, and the connections come back. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { file, memory, readOnly, shareable, slice, stats, trace, type BlockBackend } from '@nodeos/block';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { random } from './fuzz.js';
import {
  FAILS,
  KIB,
  MIB,
  nbdsh,
  requirePrograms,
  NO_THREADS,
  singleExport,
  pattern,
  serve,
  tempDir,
  THREADS,
  until,
} from './support.js';
import type { Served } from './support.js';
import { connectToExport, hex, request, Wire, expectWorking } from './wire.js';

const [READ, WRITE, DISC, FLUSH, ZERO, RESIZE] = [0, 1, 2, 3, 6, 8];
const FUA = 1;
const [EINVAL, ENOSPC, ESHUTDOWN] = [22, 28, 108];

beforeAll(() => requirePrograms('nbdsh'));

const moved = ({ server }: Served): number => server.metrics.connections.moved;

/** A client whose connection is in a thread. */
async function inThread(served: Served, at: string | number = served.path, name = ''): Promise<Wire> {
  const wire = await connectToExport(at, name);
  const before = moved(served);
  while (moved(served) === before) {
    await expectWorking(wire);
    await sleep(1);
  }
  return wire;
}

/** Many requests at once: a busy client, however slow this machine is. */
async function burst(wire: Wire): Promise<void> {
  const [count, reply] = [64, 16 + 1];
  wire.send(Buffer.alloc(28 * count, request({ type: READ, length: 1 })));
  await wire.read(reply * count);
}

/** A file with `size` bytes of a pattern. */
function disk(size: number): string {
  const path = join(tempDir(), 'disk');
  writeFileSync(path, pattern(size));
  return path;
}

const ODD = new URL('odd-device.js', import.meta.url).href;
/** For threads it is the device of `odd-device.js`. */
const odd = (name: string): BlockBackend =>
  shareable(memory(8 * MIB), () => ({ module: ODD, name, args: { size: 8 * MIB } }));

describe('a connection in a thread', () => {
  it.each(['memory', 'file', 'slice', 'read-only by TCP'])('sees the same bytes as all others: %s', async (kind) => {
    const size = 4 * MIB;
    const whole = kind === 'file' || kind === 'slice' ? await file(disk(size)) : memory(size);
    if (kind === 'memory' || kind.startsWith('read-only')) await whole.write?.(pattern(size), 0);
    const start = kind === 'slice' ? MIB : 0;
    const device =
      kind === 'slice' ? slice(whole, MIB, 2 * MIB) : kind.startsWith('read-only') ? readOnly(whole) : whole;
    const served = await serve(singleExport(device), THREADS);
    onTestFinished(() => Promise.resolve(whole.close()));
    const at = kind.includes('TCP') ? Number(new URL(await served.server.listen({ port: 0 })).port) : served.path;
    const mirror = pattern(size).subarray(start, start + device.size);
    const [thread, loop] = [await inThread(served, at), await connectToExport(at)];
    const dice = random(7);
    for (let round = 0; round < 300; round++) {
      const [length, wire] = [dice.pick([1, 512, 4096, 64 * KIB, 200 * KIB]), dice.percent(80) ? thread : loop];
      const offset = dice.int(device.size - length);
      if (device.write && dice.percent(50)) {
        const [type, flags] = [dice.pick([WRITE, WRITE, WRITE, ZERO, FLUSH]), dice.percent(10) ? FUA : 0];
        const payload = type === WRITE ? dice.bytes(length) : Buffer.alloc(0);
        const range = type === FLUSH ? {} : { offset, length };
        wire.send(request({ type, flags: type === FLUSH ? 0 : flags, ...range }), payload);
        if (type !== FLUSH) mirror.fill(type === WRITE ? payload : 0, offset, offset + length);
        expect(await wire.simple()).toBe(0);
      } else {
        wire.send(request({ type: READ, offset, length }));
        expect(await wire.simple()).toBe(0);
        expect((await wire.read(length)).equals(mirror.subarray(offset, offset + length))).toBe(true);
      }
    }
    expect(moved(served)).toBeGreaterThan(0);
    expect(served.events.filter(({ error }) => error !== undefined)).toEqual([]);
  });

  it('answers many requests that arrive in pieces', async () => {
    const served = await serve(singleExport(memory(MIB)), THREADS);
    const wire = await inThread(served);
    const count = 500;
    const one = (cookie: number): Buffer =>
      Buffer.concat([request({ type: WRITE, cookie, offset: cookie, length: 300 }), Buffer.alloc(300, cookie)]);
    const all = Buffer.concat(Array.from({ length: count }, (_, index) => one(index)));
    const dice = random(3);
    for (let at = 0; at < all.length;) {
      const length = dice.pick([1, 7, 28, 1000, 20_000]);
      wire.socket.write(all.subarray(at, at + length));
      at += length;
      if (dice.percent(30)) await new Promise(setImmediate);
    }
    for (let cookie = 0; cookie < count; cookie++) expect(await wire.simple(cookie)).toBe(0);
    expect(served.server.metrics.commands[WRITE]?.requests).toBe(count);
  });

  it('is counted while it is there', async () => {
    const served = await serve(singleExport(memory(MIB)), THREADS);
    const wire = await inThread(served);
    const before = served.server.metrics.commands[READ]?.requests ?? 0;
    for (let index = 0; index < 50; index++) await expectWorking(wire);
    expect(served.server.metrics.commands[READ]).toMatchObject({ requests: before + 50, errors: 0 });
    expect(served.server.metrics.text()).toContain(`nbd_connections_moved_total ${moved(served)}`);
  });

  it('gets errors, and those of the device are logged', async () => {
    const served = await serve({ '': { open: () => odd('open') } }, THREADS);
    const wire = await inThread(served);
    wire.send(request({ type: READ, offset: 3 * MIB, length: 1 }));
    expect(await wire.simple()).toBe(ENOSPC);
    wire.send(request({ type: READ, offset: 8 * MIB, length: 1 }), request({ type: 99 }));
    expect([await wire.simple(), await wire.simple()]).toEqual([EINVAL, EINVAL]);
    await until(() => served.events.some(({ event }) => event === 'request'));
    expect(served.events.at(-1)).toMatchObject({ event: 'request', error: { message: 'broken here', code: 'ENOSPC' } });
  });

  it('comes back for asynchronous and large requests, and moves again', async () => {
    const served = await serve({ '': { open: () => odd('open') } }, THREADS);
    const wire = await inThread(served);
    wire.send(request({ type: READ, offset: 2 * MIB, length: 3 }), request({ type: READ, length: MIB }));
    expect([await wire.simple(), await wire.read(3)]).toEqual([0, hex('020202')]);
    // Zeros: the event loop served this read.
    expect(await wire.simple()).toBe(0);
    expect((await wire.read(MIB)).equals(Buffer.alloc(MIB))).toBe(true);
    const before = moved(served);
    while (moved(served) === before) await burst(wire);
  });

  it('comes back when the client is silent or leaves', async () => {
    const served = await serve({ '': { open: () => memory(MIB) } }, THREADS);
    const { server } = served;
    for (const leave of [
      (wire: Wire) => wire.send(request({ type: DISC })),
      (wire: Wire) => void wire.socket.end(),
      (wire: Wire) => void wire.socket.destroy(),
      (wire: Wire) => wire.send(Buffer.alloc(28, 'no request')),
    ]) {
      const wire = await inThread(served);
      await sleep(150);
      await expectWorking(wire);
      leave(wire);
      await until(() => server.metrics.connections.open === 0);
      expect(server.openExports).toEqual([]);
    }
    expect(served.events.filter(({ event }) => event === 'protocol')).toHaveLength(1);
  });

  it("comes back in the middle of a client's message", async () => {
    const served = await serve(singleExport(memory(MIB)), THREADS);
    for (const [type, flags, error] of [
      [WRITE, 0, 0],
      [WRITE, 256, EINVAL],
    ] as const)
      for (const cut of [10, 28, 29, 50_000]) {
        const wire = await inThread(served);
        const said = Buffer.concat([request({ type, flags, length: 100_000 }), Buffer.alloc(100_000, 'abc')]);
        wire.send(said.subarray(0, cut));
        await sleep(150);
        wire.send(said.subarray(cut), request({ type: READ, length: 3 }));
        expect(await wire.simple()).toBe(error);
        expect([await wire.simple(), (await wire.read(3)).toString()]).toEqual([0, 'abc']);
        wire.socket.destroy();
      }
    const wire = await inThread(served);
    wire.send(request({ type: WRITE, length: 100_000 }), Buffer.alloc(50_000));
    await sleep(20);
    const started = performance.now();
    await served.server.close(0.1);
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  it('does not block others if its client takes no replies, which it gets later', async () => {
    const served = await serve(singleExport(memory(MIB)), { threads: 1, busy: 1 });
    const [deaf, other] = [await inThread(served), await connectToExport(served.path)];
    deaf.socket.pause();
    const [count, length] = [200, 64 * KIB];
    for (let cookie = 0; cookie < count; cookie++) deaf.send(request({ type: READ, cookie, length }));
    await until(() => served.server.heldBytes > 0);
    await expectWorking(other);
    deaf.socket.resume();
    for (let cookie = 0; cookie < count; cookie++) {
      expect(await deaf.simple(cookie)).toBe(0);
      await deaf.read(length);
    }
  });

  it('sees a new size', async () => {
    const served = await serve(singleExport(memory(1000)), THREADS);
    const [one, two] = [await inThread(served), await inThread(served)];
    one.send(request({ type: RESIZE, offset: 5 * MIB }));
    expect(await one.simple()).toBe(0);
    for (const wire of [one, two]) {
      wire.send(request({ type: WRITE, offset: 5 * MIB - 1, length: 1 }), hex('61'));
      expect(await wire.simple()).toBe(0);
    }
  });
});

describe('the shutdown of a server with threads', () => {
  it('is as fast as without threads', async () => {
    const served = await serve({ '': { open: () => memory(MIB) } }, THREADS);
    const [one, two] = [await inThread(served), await inThread(served)];
    const started = performance.now();
    const ended = served.server.close(30);
    for (const wire of [one, two]) {
      expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
      wire.socket.end();
    }
    await ended;
    expect(performance.now() - started).toBeLessThan(20_000);
    expect([served.server.openExports, served.server.metrics.connections.open]).toEqual([[], 0]);
  });

  it('answers or refuses all requests that have arrived', async () => {
    const served = await serve(singleExport(memory(MIB)), THREADS);
    const wire = await inThread(served);
    let asked = 0;
    const asking = setInterval(() => {
      for (let index = 0; index < 10; index++) wire.send(request({ type: READ, cookie: asked++, length: 10 }));
    }, 1);
    await sleep(30);
    const ended = served.server.close(30);
    await wire.ended;
    clearInterval(asking);
    const all = await wire.readToEnd();
    wire.socket.end();
    await ended;
    // Whole replies, in the order of the requests.
    for (let [at, cookie] = [0, 0]; at < all.length; cookie++) {
      expect(all.readUInt32BE(at + 12)).toBe(cookie);
      expect([0, ESHUTDOWN]).toContain(all.readUInt32BE(at + 4));
      at += all.readUInt32BE(at + 4) === 0 ? 26 : 16;
    }
  });

  it('cuts off clients that do not leave', async () => {
    const served = await serve(singleExport(memory(MIB)), THREADS);
    const [idle, busy] = [await inThread(served), await inThread(served)];
    busy.socket.pause();
    busy.send(Buffer.alloc(28 * 200, request({ type: READ, length: 64 * KIB })));
    await served.server.close(0.1);
    expect(served.server.metrics.connections.open).toBe(0);
    await idle.ended;
  });

  it('does not keep a process alive', async () => {
    const dist = (name: string): string => fileURLToPath(new URL(`../../${name}/dist/index.js`, import.meta.url));
    const script = `
      import { NbdServer, connectNbd } from ${JSON.stringify(dist('nbd'))};
      import { memory } from ${JSON.stringify(dist('block'))};
      const server = new NbdServer({ exports: { '': { open: () => memory(1 << 20) } }, threads: 1, busy: 1 });
      const disk = await connectNbd(await server.listen({ port: 0 }), { connections: 1 });
      while (server.metrics.connections.moved === 0) await disk.read(new Uint8Array(512), 0);
      await new Promise((resolve) => setTimeout(resolve, 20));
      process.exit(7);`;
    const ran = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { timeout: 20_000 });
    await expect(ran).rejects.toMatchObject({ code: 7, killed: false });
  });
});

describe('a thread', () => {
  it('that ends breaks its own connection and no other', async () => {
    const served = await serve({ '': { open: () => odd('open') }, plain: { open: () => memory(MIB) } }, THREADS);
    const other = await inThread(served, served.path, 'plain');
    const unlucky = await inThread(served);
    unlucky.send(request({ type: READ, offset: MIB, length: 1 }));
    await unlucky.ended;
    expect(served.events.at(-2)).toMatchObject({
      event: 'export',
      connection: 2,
      error: { message: expect.stringMatching(/thread .* ended/) as string },
    });
    await expectWorking(other);
    await inThread(served);
  });

  it('that cannot open the device leaves the connection where it was', async () => {
    const served = await serve({ '': { open: () => odd('refuse') } }, THREADS);
    const wire = await inThread(served);
    await expectWorking(wire);
    for (let index = 0; index < 50; index++) await expectWorking(wire);
    expect(moved(served)).toBe(1);
    expect(served.events.at(-1)).toMatchObject({ event: 'export', error: { message: 'not in a thread' } });
  });

  it('is not used for wrappers with state, for views, or if the server has no threads', async () => {
    const exports = {
      stats: { open: () => stats(memory(MIB)) },
      trace: { open: () => trace(memory(MIB), () => undefined) },
      copy: { open: () => ({ ...memory(MIB) }) },
      view: { open: () => memory(MIB), view: (backend: BlockBackend) => backend },
    };
    const served = await serve({ ...exports, plain: { open: () => memory(MIB) } }, THREADS);
    const none = await serve(singleExport(memory(MIB)), { ...NO_THREADS, busy: 1 });
    await inThread(served, served.path, 'plain');
    const before = moved(served);
    for (const name of Object.keys(exports)) {
      const wire = await connectToExport(served.path, name);
      for (let index = 0; index < 20; index++) await expectWorking(wire);
      await sleep(5);
      await expectWorking(wire);
    }
    const wire = await connectToExport(none.path);
    for (let index = 0; index < 20; index++) await expectWorking(wire);
    expect([moved(served), moved(none)]).toEqual([before, 0]);
  });

  it('serves a busy connection, and not every one', async () => {
    const served = await serve(singleExport(memory(MIB)), { threads: 1 });
    const lazy = await connectToExport(served.path);
    for (let index = 0; index < 200; index++) await expectWorking(lazy);
    await sleep(20);
    expect(moved(served)).toBe(0);
    const busy = `${FAILS}
for round in range(5000): h.pread(512, 0)`;
    // On a busy host a client may be slower than the limit for a busy connection.
    for (let attempt = 0; attempt < 20 && moved(served) === 0; attempt++) await nbdsh(served.uri(), busy);
    expect(moved(served)).toBeGreaterThan(0);
  });
});
