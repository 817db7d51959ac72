/** The server's limits, and misbehaving clients: too many, too slow, too greedy, or gone in the middle. */
import { setTimeout as sleep } from 'node:timers/promises';
import { memory, type BlockBackend, type Extent } from '@nodeos/block';
import { describe, expect, it, onTestFinished } from 'vitest';
import { connectNbd } from '../index.js';
import { withOverrides, deferred, KIB, MIB, singleExport, serve, until } from './support.js';
import { connectToExport, hex, request, text, u16, u32, Wire, expectWorking } from './wire.js';

const [READ, WRITE, FLUSH, STATUS] = [0, 1, 3, 7];
const GIB = 1 << 30;

describe('limits', () => {
  it('turn away one connection too many', async () => {
    const { path, server, events } = await serve(singleExport(memory(MIB)), { limits: { connections: 2 } });
    const [one, two] = [await connectToExport(path), await connectToExport(path)];
    expect(await (await Wire.connect(path)).readToEnd()).toEqual(Buffer.alloc(0));
    expect(events.at(-1)).toMatchObject({ event: 'refused', peer: 'unix' });
    await expectWorking(one);
    two.socket.destroy();
    await until(() => server.metrics.connections.open === 1);
    await expectWorking(await connectToExport(path));
  });

  it('end a handshake that takes too long, and nothing else', async () => {
    const { path, server } = await serve(singleExport(memory(MIB)), { limits: { handshake: 0.3 } });
    const quick = await connectToExport(path);
    const [silent, idle] = [await Wire.connect(path), await Wire.greeted(path)];
    const dripping = await Wire.greeted(path);
    const drops = setInterval(() => dripping.socket.write(hex('49')), 50);
    onTestFinished(() => clearInterval(drops));
    await Promise.all([silent.ended, idle.ended, dripping.ended]);
    await until(() => server.metrics.connections.open === 1);
    await expectWorking(quick);
  });

  it('bound the memory for a client that reads no replies', async () => {
    const allowance = 512 * KIB;
    let peak = 0;
    const backend = memory(MIB);
    const watched = (read: BlockBackend['read']): BlockBackend =>
      withOverrides(backend, {
        read: (into, offset) => ((peak = Math.max(peak, server.heldBytes)), read(into, offset)),
      });
    const { path, server } = await serve(
      {
        quick: { open: () => watched((into, offset) => backend.read(into, offset)) },
        late: {
          open: () => watched((into, offset) => new Promise(setImmediate).then(() => backend.read(into, offset))),
        },
      },
      { limits: { inFlight: allowance } },
    );
    const [count, length] = [1000, 64 * KIB];
    const reads = Buffer.concat(Array.from({ length: count }, () => request({ type: READ, length })));
    for (const name of ['quick', 'late']) {
      const wire = await connectToExport(path, name);
      wire.socket.pause();
      wire.send(reads);
      await until(() => server.heldBytes > allowance / 2);
      await expectWorking(await connectToExport(path, name));
      expect(server.heldBytes).toBeGreaterThan(allowance / 2);
      wire.socket.resume();
      for (let done = 0; done < count; done++) {
        expect(await wire.simple()).toBe(0);
        await wire.read(length);
      }
      await until(() => server.heldBytes === 0);
    }
    expect(peak).toBeGreaterThan(allowance / 2);
    expect(peak).toBeLessThanOrEqual(2 * allowance);
  });

  it('apply to refused requests and to writes as well', async () => {
    const allowance = 256 * KIB;
    const gate = deferred();
    const slow = withOverrides(memory(64 * MIB), { write: () => gate.promise });
    const { path, server } = await serve({ '': { open: () => slow } }, { limits: { inFlight: allowance } });
    const nonsense = await connectToExport(path);
    nonsense.socket.pause();
    nonsense.send(Buffer.alloc(28 * 100_000, request({ type: 99 })));
    const writing = await connectToExport(path);
    const write = Buffer.concat([request({ type: WRITE, length: 32 * KIB }), Buffer.alloc(32 * KIB)]);
    for (let count = 0; count < 100; count++) writing.send(write);
    await until(() => server.heldBytes > allowance);
    expect(server.heldBytes).toBeLessThanOrEqual(2 * allowance);
    gate.resolve();
    for (let count = 0; count < 100; count++) expect(await writing.simple()).toBe(0);
    nonsense.socket.resume();
    const answers = await nonsense.read(16 * 100_000);
    expect(answers.equals(Buffer.alloc(16 * 100_000, answers.subarray(0, 16)))).toBe(true);
  });

  it('apply to block status requests, by the possible size of their replies', async () => {
    const [allowance, count, size] = [256 * KIB, 60, 32 * MIB];
    const gate = deferred();
    let [asked, peak] = [0, 0];
    const all = Array.from({ length: size / KIB }, (_, index): Extent => {
      const isHole = index % 2 === 1;
      return { offset: index * KIB, length: KIB, hole: isHole, zero: isHole };
    });
    const extents = async (): Promise<Extent[]> => {
      asked++;
      await gate.promise;
      peak = Math.max(peak, server.heldBytes);
      return all;
    };
    const { path, server } = await serve(
      { '': { open: () => withOverrides(memory(size), { extents }) } },
      { limits: { inFlight: allowance } },
    );
    const wire = await Wire.greeted(path);
    await wire.sendOption(8);
    await wire.sendOption(10, text(''), u32(1), text('base:allocation'));
    await wire.openExport();
    wire.socket.pause();
    for (let index = 0; index < count; index++) wire.send(request({ type: STATUS, length: size }));
    await until(() => asked > 0);
    await sleep(20);
    expect(asked).toBeLessThanOrEqual(4);
    gate.resolve();
    await sleep(50);
    expect(asked).toBeLessThan(count);
    wire.socket.resume();
    for (let index = 0; index < count; index++) {
      const { type, data } = await wire.chunk();
      // A quarter of the allowance, if each extent took 16 bytes.
      expect([type, data.length]).toEqual([5, 4 + 8 * (allowance / 64)]);
    }
    expect(peak).toBeLessThanOrEqual(allowance);
    await until(() => server.heldBytes === 0);
  });

  it('apply to the range that is queried for extents at once', async () => {
    const size = 5 * GIB + 4 * KIB;
    const asked: number[] = [];
    const extents = (offset: number, length: number): Extent[] => {
      asked.push(length);
      return [{ offset, length, hole: true, zero: true }];
    };
    const { path } = await serve({ '': { open: () => withOverrides(memory(size), { extents }) } });
    const disk = await connectNbd(`nbd+unix:///?socket=${path}`, { connections: 1 });
    onTestFinished(() => disk.close());
    expect(await disk.extents?.(0, size)).toEqual([{ offset: 0, length: size, hole: true, zero: true }]);
    expect(asked).toEqual([GIB, GIB, GIB, GIB, GIB, 4 * KIB]);
  });

  it('admit a larger request alone', async () => {
    const { path } = await serve({ '': { open: () => memory(4 * MIB) } }, { limits: { inFlight: 1000 } });
    const wire = await connectToExport(path);
    wire.send(request({ type: WRITE, length: 3 * MIB }), Buffer.alloc(3 * MIB, 'abc'));
    wire.send(request({ type: READ, length: 3 * MIB }), request({ type: READ, length: 3 * MIB }));
    expect(await wire.simple()).toBe(0);
    for (let count = 0; count < 2; count++) {
      expect(await wire.simple()).toBe(0);
      expect((await wire.read(3 * MIB)).equals(Buffer.alloc(3 * MIB, 'abc'))).toBe(true);
    }
  });
});

describe('clients', () => {
  it('that vanish are noticed, at any point of the protocol', async () => {
    const { path, server } = await serve({ '': { open: () => memory(MIB) } });
    const halves = [
      request({ type: READ, length: 1 }).subarray(0, 20),
      Buffer.concat([request({ type: WRITE, length: 300 * KIB }), Buffer.alloc(200 * KIB)]),
      Buffer.concat([request({ type: WRITE, flags: 256, length: 300 * KIB }), Buffer.alloc(200 * KIB)]),
      request({ type: FLUSH }),
      Buffer.alloc(0),
    ];
    for (const bytes of halves)
      for (const end of ['end', 'destroy'] as const) {
        const wire = await connectToExport(path);
        await new Promise<void>((resolve) => void wire.socket.write(bytes, () => resolve()));
        wire.socket[end]();
        await until(() => server.metrics.connections.open === 0);
        expect(server.openExports).toEqual([]);
      }
  });

  it('may send everything first and then read', async () => {
    const { path } = await serve({ '': { open: () => memory(MIB) } }, { limits: { inFlight: 100 * KIB } });
    const wire = await connectToExport(path);
    wire.socket.end(Buffer.alloc(28 * 50, request({ type: READ, length: 64 * KIB })));
    for (let count = 0; count < 50; count++) {
      expect(await wire.simple()).toBe(0);
      await wire.read(64 * KIB);
    }
    expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
  });

  it('that leave while the backend is being opened leave nothing behind', async () => {
    const [opening, closed] = [deferred<BlockBackend>(), deferred()];
    const { path, server } = await serve({ '': { open: () => opening.promise } });
    const wire = await Wire.greeted(path);
    wire.option(7, text(''), u16(0));
    await until(() => server.openExports.length === 1);
    wire.socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    opening.resolve(withOverrides(memory(MIB), { close: () => closed.resolve() }));
    await closed.promise;
    await until(() => server.metrics.connections.open === 0);
  });
});
