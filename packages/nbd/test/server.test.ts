/** The life of a server: opening and closing backends, listening, and shutting down. */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { memory, type BlockBackend } from '@nodeos/block';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Peer } from '../server/exports.js';
import { NbdServer } from '../server/server.js';
import {
  withOverrides,
  deferred,
  withoutClose,
  KIB,
  MIB,
  requirePrograms,
  singleExport,
  output,
  serve,
  tempDir,
  until,
} from './support.js';
import { ACK, connectToExport, hex, refusal, request, text, u16, Wire, expectWorking } from './wire.js';

const [READ, WRITE, DISC, RESIZE] = [0, 1, 2, 8];
const [EPERM, EINVAL, ESHUTDOWN] = [1, 22, 108];
const [POLICY, UNKNOWN] = [refusal(2), refusal(6)];

describe('backends', () => {
  it('are opened once, shared, and closed by the last client that leaves', async () => {
    const told: string[] = [];
    const closing = deferred();
    const open = async (): Promise<BlockBackend> => {
      told.push('open');
      await new Promise(setImmediate);
      return withOverrides(memory(MIB), { close: () => (told.push('close'), closing.promise) });
    };
    const { path, server } = await serve({ a: { open }, other: { open: () => memory(MIB) } });
    const info = await Wire.greeted(path);
    await info.openExport('other');
    expect(told).toEqual([]);
    const [one, two] = await Promise.all([connectToExport(path, 'a'), connectToExport(path, 'a')]);
    one.send(request({ type: WRITE, length: 3 }), Buffer.from('abc'), request({ type: DISC }));
    expect(await one.simple()).toBe(0);
    await one.ended;
    two.send(request({ type: READ, length: 3 }));
    expect([await two.simple(), (await two.read(3)).toString()]).toEqual([0, 'abc']);
    expect([told, server.openExports]).toEqual([['open'], ['other', 'a']]);
    two.socket.destroy();
    await until(() => told.length === 2);
    const third = connectToExport(path, 'a');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(told).toEqual(['open', 'close']);
    closing.resolve();
    await expectWorking(await third);
    expect(told).toEqual(['open', 'close', 'open']);
  });

  it('are reported in the log if they cannot be opened or closed', async () => {
    let broken = true;
    const open = (): BlockBackend => {
      if (broken) throw new Error('no disk');
      const close = (): never => {
        throw new Error('no end');
      };
      return withOverrides(memory(MIB), { close });
    };
    const { path, events, server } = await serve({ '': { open } });
    const wire = await Wire.greeted(path);
    expect(await wire.finalReply(7, text(''), u16(0))).toBe(UNKNOWN);
    expect(server.openExports).toEqual([]);
    broken = false;
    expect(await wire.finalReply(6, text(''), u16(0))).toBe(ACK);
    await wire.openExport();
    wire.send(request({ type: DISC }));
    await wire.ended;
    await until(() => events.at(-1)?.event === 'close');
    expect(events.map(({ event, error }) => `${event} ${error instanceof Error ? error.message : ''}`)).toEqual([
      ...['export no disk', 'export no end', 'open ', 'export no end', 'close '],
    ]);
  });

  it('are found by a function, which knows the peer', async () => {
    const peers: Peer[] = [];
    const { path, server, events } = await serve({
      async find(name, peer) {
        peers.push(peer);
        await new Promise(setImmediate);
        if (name === 'trouble') throw new Error('no database');
        return name.startsWith('disk-') ? { open: () => memory(Number(name.slice(5))) } : undefined;
      },
    });
    const port = Number(new URL(await server.listen({ port: 0 })).port);
    const wire = await Wire.greeted(port);
    expect(await wire.finalReply(3)).toBe(POLICY);
    expect(await wire.finalReply(7, text('none'), u16(0))).toBe(UNKNOWN);
    expect(await wire.finalReply(7, text('trouble'), u16(0))).toBe(UNKNOWN);
    expect((await wire.sendOption(6, text('disk-513'), u16(0)))[0]?.data.readBigUInt64BE(2)).toBe(513n);
    await wire.openExport('disk-1000');
    await expectWorking(wire);
    await expectWorking(await connectToExport(path, 'disk-5'));
    expect(peers[0]).toEqual({ connection: 1, address: expect.stringMatching(/^127\.0\.0\.1:\d+$/), tls: false });
    expect(peers.at(-1)).toEqual({ connection: 2, address: 'unix', tls: false });
    expect(events.find(({ event }) => event === 'export')).toMatchObject({ export: 'trouble' });
  });

  it('with one name are shared by clients with the same key', async () => {
    const { path, server } = await serve({
      find: (_, { connection }) => {
        const key = connection === 2 ? 'eve' : 'alice';
        return { key, open: () => memory(MIB) };
      },
    });
    const [first, other, second] = [
      await connectToExport(path),
      await connectToExport(path),
      await connectToExport(path),
    ];
    first.send(request({ type: WRITE, length: 3 }), Buffer.from('abc'));
    expect(await first.simple()).toBe(0);
    const read = async (wire: Wire): Promise<string> => {
      wire.send(request({ type: READ, length: 3 }));
      expect(await wire.simple()).toBe(0);
      return (await wire.read(3)).toString();
    };
    expect([await read(other), await read(second)]).toEqual(['\0\0\0', 'abc']);
    expect(server.openExports).toEqual(['', '']);
  });

  it('show each user its own view', async () => {
    const asked: string[] = [];
    const { path } = await serve({
      '': {
        open: () => memory(1000),
        view: (backend, { connection }) =>
          withOverrides(backend, {
            read(into, offset) {
              asked.push(`${connection}: ${into.length} at ${offset}`);
              return backend.read(into, offset);
            },
          }),
      },
    });
    for (const offset of [100, 200]) {
      const wire = await connectToExport(path);
      wire.send(request({ type: 0, offset, length: 10 }));
      expect(await wire.simple()).toBe(0);
    }
    expect(asked).toEqual(['1: 10 at 100', '2: 10 at 200']);
  });

  it('grow and shrink with RESIZE', async () => {
    const { path } = await serve({
      '': { open: () => memory(1000) },
      fixed: { open: () => memory(1000), readOnly: true },
      stiff: { open: () => withOverrides(memory(1000), { resize: undefined }) },
    });
    const wire = await Wire.greeted(path);
    expect((await wire.openExport()) & (1 << 9)).not.toBe(0);
    const ask = (asked: Parameters<typeof request>[0], ...data: Buffer[]): Promise<number> => {
      wire.send(request(asked), ...data);
      return wire.simple();
    };
    expect(await ask({ type: WRITE, offset: 1000, length: 1 }, hex('61'))).toBe(28);
    expect(await ask({ type: RESIZE, offset: 5000 })).toBe(0);
    expect(await ask({ type: WRITE, offset: 4999, length: 1 }, hex('61'))).toBe(0);
    expect(await ask({ type: RESIZE, offset: 10, flags: 1 })).toBe(0);
    expect(await ask({ type: READ, offset: 10, length: 1 })).toBe(EINVAL);
    for (const wrong of [{ length: 1 }, { offset: 2n ** 53n }, { offset: 2n ** 64n - 1n }, { flags: 2 }])
      expect(await ask({ type: RESIZE, ...wrong })).toBe(EINVAL);
    for (const [name, error] of [
      ['fixed', EPERM],
      ['stiff', EINVAL],
    ] as const) {
      const other = await Wire.greeted(path);
      expect((await other.openExport(name)) & (1 << 9)).toBe(0);
      other.send(request({ type: RESIZE, offset: 5 }));
      expect(await other.simple()).toBe(error);
    }
  });
});

describe('the shutdown', () => {
  it('finishes requests under way, refuses all others, and leaves nothing behind', async () => {
    const [gate, closed] = [deferred(), deferred()];
    const backend = withOverrides(memory(MIB), { write: () => gate.promise, close: () => closed.resolve() });
    const { path, server } = await serve({ '': { open: () => backend } });
    const [busy, idle] = [await connectToExport(path), await connectToExport(path)];
    busy.send(request({ type: WRITE, length: 1 }), hex('61'));
    await until(() => server.heldBytes > 0);
    const ended = server.close(30);
    expect(await idle.readToEnd()).toEqual(Buffer.alloc(0));
    idle.socket.end();
    busy.send(request({ type: READ, cookie: 2, length: 1 }));
    expect(await busy.simple(2)).toBe(ESHUTDOWN);
    await expect(Wire.connect(path)).rejects.toThrow(/ENOENT/);
    gate.resolve();
    expect(await busy.simple()).toBe(0);
    expect(await busy.readToEnd()).toEqual(Buffer.alloc(0));
    busy.socket.end();
    await Promise.all([ended, closed.promise]);
    expect([server.openExports, server.metrics.connections.open, existsSync(path)]).toEqual([[], 0, false]);
  });

  it('cuts off clients that do not leave', async () => {
    const { path, server } = await serve(singleExport(memory(MIB)));
    const [asking, stuck] = [await Wire.greeted(path), await connectToExport(path)];
    stuck.socket.pause();
    stuck.send(Buffer.alloc(28 * 200, request({ type: READ, length: 64 * KIB })));
    await until(() => server.heldBytes > MIB);
    await server.close(0.1);
    expect(server.metrics.connections.open).toBe(0);
    await asking.ended;
  });
});

describe('addresses to listen on', () => {
  it('can be several, each with a URI', async () => {
    const { server } = await serve(singleExport(memory(MIB)));
    const four = await server.listen({ port: 0 });
    const six = await server.listen({ host: '::1', port: 0 });
    expect(four).toMatch(/^nbd:\/\/127\.0\.0\.1:\d+$/);
    expect(six).toMatch(/^nbd:\/\/\[::1\]:\d+$/);
    expect(await output('nbdinfo', '--size', `${six}/`)).toBe(`${MIB}\n`);
    const port = Number(new URL(four).port);
    await expect(new NbdServer({ exports: {} }).listen({ port })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    });
  });

  it('are not taken from a live socket or a file', async () => {
    const { path } = await serve(singleExport(memory(MIB)));
    const other = new NbdServer({ exports: {} });
    onTestFinished(() => other.close(0));
    await expect(other.listen({ path })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    const file = join(tempDir(), 'precious');
    writeFileSync(file, 'data');
    await expect(other.listen({ path: file })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(readFileSync(file, 'utf8')).toBe('data');
    const stale = join(tempDir(), 'stale.sock');
    const killed = `require('net').createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, 9))`;
    spawnSync(process.execPath, ['-e', killed]);
    expect(existsSync(stale)).toBe(true);
    await other.listen({ path: stale });
    await Wire.greeted(stale);
  });

  it('may be passed by the service manager as file descriptor 3', async () => {
    requirePrograms('/usr/bin/python3');
    const path = join(tempDir(), 'activated.sock');
    const dist = (name: string): string => fileURLToPath(new URL(`../../${name}/dist/index.js`, import.meta.url));
    const server = `
      import { NbdServer } from ${JSON.stringify(dist('nbd'))};
      import { memory } from ${JSON.stringify(dist('block'))};
      const server = new NbdServer({ exports: { '': { open: () => memory(12345) } } });
      await server.listen({ fd: 3 });`;
    const manager = `
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.execv(sys.argv[2], sys.argv[2:])`;
    const service = [process.execPath, '--input-type=module', '-e', server];
    const child = execFile('/usr/bin/python3', ['-c', manager, path, ...service]);
    onTestFinished(() => void child.kill('SIGKILL'));
    await until(() => existsSync(path));
    expect(await output('nbdinfo', '--size', `nbd+unix:///?socket=${path}`)).toBe('12345\n');
  });
});

describe('metrics', () => {
  it('are in the format of Prometheus', async () => {
    const { path, server } = await serve({ '': { open: () => withoutClose(memory(MIB)) } });
    const wire = await connectToExport(path);
    wire.send(request({ type: WRITE, length: 1000 }), Buffer.alloc(1000), request({ type: READ, length: 50 }));
    wire.send(request({ type: READ, offset: MIB, length: 7 }), request({ type: 1000 }));
    expect([await wire.simple(), await wire.simple(), (await wire.read(50)).length]).toEqual([0, 0, 50]);
    expect([await wire.simple(), await wire.simple()]).toEqual([EINVAL, EINVAL]);
    (await Wire.connect(path)).socket.destroy();
    const polite = await Wire.greeted(path);
    expect(await polite.finalReply(2)).toBe(ACK);
    polite.socket.end();
    await until(() => server.metrics.connections.open === 1);
    const lines = server.metrics.text().split('\n');
    for (const line of [
      ...['nbd_connections_total 3', 'nbd_connections_refused_total 1', 'nbd_connections 1'],
      ...['nbd_requests_total{command="read"} 2', 'nbd_request_errors_total{command="read"} 1'],
      ...['nbd_request_bytes_total{command="write"} 1000', 'nbd_request_bytes_total{command="read"} 50'],
      ...['nbd_request_seconds_bucket{command="read",le="+Inf"} 2', 'nbd_request_seconds_count{command="write"} 1'],
    ])
      expect(lines).toContain(line);
    const sample = /^nbd_[a-z_]+(\{[a-z]+="[^"]+"(,[a-z]+="[^"]+")*\})? [0-9.e+-]+$/;
    const comment = /^# (HELP nbd_[a-z_]+ .+|TYPE nbd_[a-z_]+ (counter|gauge|histogram))$/;
    expect(lines.filter((line) => line !== '' && !sample.test(line) && !comment.test(line))).toEqual([]);
    expect(lines.at(-1)).toBe('');
  });
});
