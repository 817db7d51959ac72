/** The memory that all connections share: who waits for it, who gets it, and who must give it up. */
import { setTimeout as sleep } from 'node:timers/promises';
import { memory, type BlockBackend } from '@nodeos/block';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Budget, FLOOR, Lease } from '../server/budget.js';
import { withOverrides, deferred, KIB, MIB, serve, until, type Served } from './support.js';
import { connectToExport, request, Wire, expectWorking } from './wire.js';

const [READ, WRITE] = [0, 1];
const SHARED = 8 * MIB;
const LARGE = 4 * MIB;
const read = request({ type: READ, length: LARGE });

/** A server whose budget is about two large requests. The test controls when holders are checked. */
function small(backend: BlockBackend = memory(16 * MIB)): Promise<Served> {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  return serve(
    { '': { open: () => withOverrides(backend, { close: () => undefined }) } },
    { limits: { shared: SHARED, inFlight: 16 * MIB } },
  );
}

/** A client that requests much data and reads none of it. */
async function deaf(path: string, asked = read): Promise<Wire> {
  const wire = await connectToExport(path);
  wire.socket.pause();
  wire.send(asked);
  return wire;
}

async function gets(wire: Wire): Promise<void> {
  wire.socket.resume();
  expect(await wire.simple()).toBe(0);
  await wire.read(LARGE);
}

describe('the memory of all connections', () => {
  it('is limited whatever clients request, and all of them proceed once they read', async () => {
    const { path, server } = await small();
    const wires = await Promise.all(Array.from({ length: 20 }, () => deaf(path, Buffer.concat([read, read]))));
    await until(() => server.heldBytes > LARGE);
    await sleep(50);
    expect(server.heldBytes).toBeLessThanOrEqual(SHARED + wires.length * FLOOR);
    await expectWorking(await connectToExport(path));
    await Promise.all(wires.map((wire) => gets(wire).then(() => gets(wire))));
    await until(() => server.heldBytes === 0);
  });

  it('is taken only from a client that takes nothing while others wait', async () => {
    const { path, server, events } = await small();
    const holding = [await deaf(path), await deaf(path)];
    await until(() => server.heldBytes > 2 * LARGE);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.metrics.connections.open).toBe(2);
    const waiting = await connectToExport(path);
    waiting.send(read);
    await sleep(20);
    // The test reads a little from one of them between two checks.
    await vi.advanceTimersByTimeAsync(10_000);
    holding[0]?.socket.resume();
    await holding[0]?.read(MIB);
    holding[0]?.socket.pause();
    await vi.advanceTimersByTimeAsync(10_000);
    await gets(waiting);
    await expectWorking(waiting);
    await until(() => server.metrics.connections.open === 2);
    expect(events.filter(({ event }) => event === 'protocol')).toMatchObject([
      { connection: 2, error: { message: /while others wait/ } },
    ]);
    // Nobody waits any more.
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.metrics.connections.open).toBe(2);
  });

  it('is taken from a client that announces data and does not send it', async () => {
    const { path, server } = await small();
    const header = request({ type: WRITE, length: LARGE });
    const [silent, dripping] = [await deaf(path, header), await deaf(path, header)];
    await until(() => server.heldBytes > 2 * LARGE);
    const waiting = await connectToExport(path);
    waiting.send(read);
    await sleep(20);
    for (let look = 0; look < 2; look++) {
      dripping.send(Buffer.alloc(1));
      await sleep(20);
      await vi.advanceTimersByTimeAsync(10_000);
    }
    await silent.ended;
    await gets(waiting);
    dripping.send(Buffer.alloc(LARGE - 2));
    dripping.socket.resume();
    expect(await dripping.simple()).toBe(0);
  });

  it('is not taken from a client that waits for the backend', async () => {
    const gate = deferred();
    let writes = 0;
    const write = (): Promise<void> => (writes++, gate.promise);
    const { path, server } = await small(withOverrides(memory(16 * MIB), { write }));
    const asked = Buffer.concat([request({ type: WRITE, length: LARGE }), Buffer.alloc(LARGE)]);
    const holding = [await deaf(path, asked), await deaf(path, asked)];
    await until(() => writes === holding.length);
    const waiting = await connectToExport(path);
    waiting.send(read);
    await sleep(50);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.metrics.connections.open).toBe(3);
    gate.resolve();
    await gets(waiting);
    for (const wire of holding) {
      wire.socket.resume();
      expect(await wire.simple()).toBe(0);
    }
  });

  it('is returned by a client that leaves, whether holding or waiting', async () => {
    const { path, server } = await small();
    const holding = [await deaf(path), await deaf(path)];
    await until(() => server.heldBytes > 2 * LARGE);
    const [vanishing, last] = [await connectToExport(path), await connectToExport(path)];
    vanishing.send(read);
    await sleep(20);
    last.send(read);
    await sleep(20);
    vanishing.socket.destroy();
    for (const wire of holding) wire.socket.destroy();
    await gets(last);
    await until(() => server.metrics.connections.open === 1);
  });

  it('goes to the next client when the first is cut off, whatever its backend is doing', async () => {
    const gate = deferred();
    const { path, server } = await small(withOverrides(memory(16 * MIB), { write: () => gate.promise }));
    const stuck = [request({ type: WRITE, length: 2 * MIB }), Buffer.alloc(2 * MIB)];
    const more = [MIB, 5 * MIB].map((length) => request({ type: READ, length }));
    await deaf(path, Buffer.concat(stuck));
    await deaf(path, Buffer.concat([...stuck, ...more]));
    await until(() => server.heldBytes > 5 * MIB);
    const waiting = await connectToExport(path);
    waiting.send(read);
    await sleep(20);
    await vi.advanceTimersByTimeAsync(20_000);
    await gets(waiting);
    gate.resolve();
    await until(() => server.metrics.connections.open === 2);
  });

  it('may be exceeded by a single request', async () => {
    const { path, server } = await small();
    const most = 12 * MIB;
    const wires = [await deaf(path), await connectToExport(path), await connectToExport(path)];
    await until(() => server.heldBytes > LARGE);
    for (const wire of wires.slice(1)) wire.send(request({ type: READ, length: most }));
    await sleep(50);
    expect(server.heldBytes).toBeLessThan(SHARED);
    await gets(wires[0] as Wire);
    for (const wire of wires.slice(1)) {
      expect(await wire.simple()).toBe(0);
      await wire.read(most);
    }
  });
});

describe('the queue for memory', () => {
  function line(limit: number): { served: string[]; leases: [Lease, Lease, Lease, Lease] } {
    const budget = new Budget(limit);
    const served: string[] = [];
    const lease = (name: string): Lease =>
      new Lease(budget, {
        ...{ position: () => undefined, disconnect: () => undefined },
        resume: () => served.push(name),
      });
    return { served, leases: [lease('a'), lease('b'), lease('c'), lease('d')] };
  }

  it('is not jumped by smaller requests', async () => {
    const { served, leases } = line(100 * KIB);
    const [a, b, c, d] = leases;
    expect(a.covers(FLOOR + 60 * KIB)).toBe(true);
    expect([b.covers(FLOOR + 80 * KIB), c.covers(FLOOR + 10 * KIB), d.covers(FLOOR + 95 * KIB)]).toEqual([
      ...[false, false, false],
    ]);
    expect(c.covers(FLOOR)).toBe(true);
    expect(c.covers(FLOOR + 10 * KIB)).toBe(false);
    a.shrink(FLOOR + 50 * KIB);
    await sleep(5);
    expect(served).toEqual([]);
    a.end();
    await sleep(5);
    expect([served, b.size]).toEqual([['b'], FLOOR + 80 * KIB]);
    b.shrink(0);
    await sleep(5);
    expect(served).toEqual(['b', 'd']);
    d.end();
    await sleep(5);
    expect(served).toEqual(['b', 'd', 'c']);
  });

  it('moves on when its first member leaves or wants less', async () => {
    const { served, leases } = line(100 * KIB);
    const [a, b, c, d] = leases;
    a.covers(FLOOR + 60 * KIB);
    b.covers(FLOOR + 80 * KIB);
    for (const lease of [c, d]) expect(lease.covers(FLOOR + 20 * KIB)).toBe(false);
    await sleep(5);
    expect(served).toEqual([]);
    b.leaveQueue();
    await sleep(5);
    expect([served, c.size, d.size]).toEqual([['c', 'd'], FLOOR + 20 * KIB, FLOOR + 20 * KIB]);
    b.covers(FLOOR + 80 * KIB);
    d.end();
    await sleep(5);
    expect(b.covers(FLOOR + 20 * KIB)).toBe(false);
    await sleep(5);
    expect(served).toEqual(['c', 'd', 'b']);
  });
});
