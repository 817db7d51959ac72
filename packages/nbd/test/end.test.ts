/** The shutdown of a server: what clients may finish, and how long the server waits for them. */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { memory } from '@nodeos/block';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { withOverrides, deferred, MIB, singleExport, serve, until } from './support.js';
import { ACK, connectToExport, refusal, request, text, u16, Wire } from './wire.js';

const [READ, DISC] = [0, 2];
const SHUTDOWN = refusal(7);

/** Lets the test control time. */
function fake(...toFake: ('setTimeout' | 'clearTimeout' | 'setInterval' | 'clearInterval')[]): void {
  vi.useFakeTimers({ toFake });
  onTestFinished(() => void vi.useRealTimers());
}

/** Duration in milliseconds. */
async function timeOf(work: Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work;
  return performance.now() - started;
}

/** A client that keeps its side open whatever the server does, and reads only when told to. */
function stubborn(path: string): {
  read(): number;
  readonly isOver: () => boolean;
  send(bytes: Uint8Array): void;
} {
  const socket = connect({ path, allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  let over = false;
  socket.on('error', () => undefined);
  for (const event of ['end', 'close']) socket.on(event, () => (over = true));
  socket.pause();
  return {
    read: () => (socket.read() as Buffer | null)?.length ?? 0,
    isOver: () => over,
    send: (bytes) => void socket.write(bytes),
  };
}

/** Chooses the default export without reading replies, and sends requests. */
const blindly = (...requests: Buffer[]): Buffer =>
  Buffer.concat([
    Buffer.from('00000003', 'hex'),
    Buffer.from('IHAVEOPT'),
    Buffer.from('0000000100000000', 'hex'),
    ...requests,
  ]);

describe('the shutdown of a server', () => {
  it('does not wait for a silent client in the handshake', async () => {
    const { server, path, events } = await serve(singleExport(memory(MIB)));
    const clients = [stubborn(path), stubborn(path)];
    clients[1]?.send(Buffer.from('00000003494841', 'hex'));
    await until(() => server.metrics.connections.open === 2);
    expect(await timeOf(server.close(30))).toBeLessThan(20_000);
    expect(events.map(({ event, error }) => `${event} ${String(error)}`)).toEqual(
      Array(2).fill('refused Error: the server is being shut down'),
    );
  });

  it('answers the current option and accepts no other', async () => {
    const gate = deferred();
    const { server, path } = await serve({ find: () => gate.promise.then(() => ({ open: () => memory(MIB) })) });
    const wire = await Wire.greeted(path);
    wire.option(7, text(''), u16(0));
    wire.option(3);
    await sleep(20);
    const ended = server.close(30);
    setTimeout(() => gate.resolve(), 20);
    expect((await wire.reply()).type).toBe(SHUTDOWN);
    expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
    wire.socket.end();
    expect(await timeOf(ended)).toBeLessThan(20_000);
    expect(server.openExports).toEqual([]);
  });

  it('does not cut off a long answer', async () => {
    const description = 'd'.repeat(4000);
    const list = Array.from({ length: 1000 }, (_, index) => ({ name: `disk ${index}`, description }));
    const { server, path } = await serve({ list: () => list, find: () => undefined });
    const wire = await Wire.greeted(path);
    wire.socket.pause();
    wire.option(3);
    await sleep(20);
    const ended = server.close(30);
    await sleep(20);
    wire.socket.resume();
    for (const { name } of list) expect((await wire.reply()).data.toString('latin1', 4, 4 + name.length)).toBe(name);
    expect((await wire.reply()).type).toBe(ACK);
    expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
    wire.socket.end();
    await ended;
  });

  it('completes even if a backend never answers', async () => {
    const [gate, closed] = [deferred(), vi.fn()];
    const stuck = withOverrides(memory(MIB), { read: () => gate.promise, close: closed });
    const { server, path, events } = await serve({ disk: { open: () => stuck } });
    const wire = await connectToExport(path, 'disk');
    wire.send(request({ type: READ, length: 1 }));
    await until(() => server.heldBytes > 0);
    fake('setTimeout', 'clearTimeout');
    let isOver = false;
    const ended = server.close(5).then(() => (isOver = true));
    await vi.advanceTimersByTimeAsync(4_900);
    expect(wire.socket.readableEnded).toBe(false);
    await vi.advanceTimersByTimeAsync(200);
    expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
    expect(isOver).toBe(false);
    await vi.advanceTimersByTimeAsync(2_000);
    await ended;
    expect(events.at(-1)).toMatchObject({ event: 'export', connection: 1, error: { message: /has not answered/ } });
    // Resources of a call under way are not released.
    expect(closed).not.toHaveBeenCalled();
    gate.resolve();
    await until(() => closed.mock.calls.length === 1);
  });

  it('waits for backends that need slightly longer than the grace of the clients', async () => {
    const closed = vi.fn();
    const slow = withOverrides(memory(MIB), { read: () => sleep(200), close: () => sleep(200).then(closed) });
    const { server, path } = await serve({ '': { open: () => slow } });
    const wire = await connectToExport(path);
    wire.send(request({ type: READ, length: 1 }));
    await until(() => server.heldBytes > 0);
    await server.close(0);
    expect(closed).toHaveBeenCalledOnce();
  });

  it('gives a slow reader all of the grace', async () => {
    const [count, length] = [4, 8 * MIB];
    const { server, path } = await serve({ '': { open: () => memory(length) } }, { limits: { inFlight: 64 * MIB } });
    const wire = await connectToExport(path);
    wire.socket.pause();
    for (let index = 0; index < count; index++) wire.send(request({ type: READ, length }));
    await until(() => server.heldBytes > (count - 1) * length);
    fake('setInterval', 'clearInterval');
    const ended = server.close(60);
    await sleep(20);
    await vi.advanceTimersByTimeAsync(50_000);
    wire.socket.resume();
    for (let index = 0; index < count; index++) {
      expect(await wire.simple()).toBe(0);
      await wire.read(length);
    }
    expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
    wire.socket.end();
    await ended;
  });

  it('of a connection soon cuts off a client that takes nothing or does not close', async () => {
    const { server, path } = await serve({ '': { open: () => memory(8 * MIB) } });
    const reads = [request({ type: READ, length: 8 * MIB }), request({ type: DISC })];
    const [deaf, open, slow] = [stubborn(path), stubborn(path), stubborn(path)];
    fake('setInterval', 'clearInterval');
    deaf.send(blindly(...reads));
    open.send(blindly(request({ type: DISC })));
    slow.send(blindly(...reads));
    await until(() => server.heldBytes > 2 * 7 * MIB);
    await sleep(20);
    let got = 0;
    for (let seconds = 5; got < 8 * MIB; seconds += 5) {
      // A smaller read would be hidden by the socket's own buffers.
      for (const most = Math.min(got + MIB, 8 * MIB); got < most; got += slow.read()) await sleep(1);
      await sleep(10);
      await vi.advanceTimersByTimeAsync(5_000);
      if (seconds === 15) expect([server.metrics.connections.open, slow.isOver()]).toEqual([1, false]);
    }
    await vi.advanceTimersByTimeAsync(10_000);
    await until(() => server.metrics.connections.open === 0);
  });
});
