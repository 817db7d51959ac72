/** The server's handshake with many options, and handshakes that come to nothing. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { memory, type BlockBackend } from '@nodeos/block';
import { describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../../block/test/helpers.js';
import type { Export, Exports } from '../server/exports.js';
import { connectNbd, Handshake, NbdServer, parseUri } from '../index.js';
import {
  withOverrides,
  deferred,
  KIB,
  MIB,
  requirePrograms,
  singleExport,
  output,
  pattern,
  serve,
  startServer,
  tempDir,
  until,
} from './support.js';
import { ACK, connectToExport, HELLO, hex, refusal, request, text, u16, Wire, expectWorking } from './wire.js';

const [LIST, INFO, GO] = [3, 6, 7];
const UNKNOWN = refusal(6);
const EINVAL = 22;

const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

describe('many exports', () => {
  const names = Array.from({ length: 300 }, (_, index) => `disk ${index}`);
  const many: Exports = Object.fromEntries(names.map((name, index) => [name, { open: () => memory(512 * index) }]));

  it('can be looked at one by one on one connection', async () => {
    const { uri } = await serve(many);
    const handshake = await Handshake.begin(parseUri(uri()), {});
    expect((await handshake.list()).map(({ name }) => name)).toEqual(names);
    for (const [index, name] of names.entries())
      expect(await handshake.getInfo(name)).toMatchObject({ name, size: 512 * index });
    handshake.disconnect();
  });

  it('are listed by nbdinfo', async () => {
    requirePrograms('nbdinfo');
    const { uri } = await serve(many);
    const { exports } = JSON.parse(await output('nbdinfo', '--list', '--json', uri())) as {
      exports: Record<string, unknown>[];
    };
    expect(exports.map((found) => found['export-name'])).toEqual(names);
  });
});

describe('a connection is given up and the next one accepted', () => {
  const limits = { handshake: 0.2, connections: 2 };
  const stuck: Record<string, [Exports | { find(): Promise<Export | undefined> }, (wire: Wire) => void]> = {
    'when an export never opens': [{ '': { open: never } }, (wire) => wire.option(GO, text(''), u16(0))],
    'also for EXPORT_NAME': [{ '': { open: never } }, (wire) => wire.option(1)],
    'when an export is never found': [{ find: never }, (wire) => wire.option(INFO, text(''), u16(0))],
    'when the list never comes': [
      { find: never, list: never } as { find(): Promise<Export> },
      (wire) => wire.option(LIST),
    ],
    'when an export that was looked at never closes': [
      { '': { open: () => withOverrides(memory(MIB), { close: never }) } },
      (wire) => wire.option(INFO, text(''), u16(0)),
    ],
  };
  for (const [when, [exports, ask]] of Object.entries(stuck))
    it(when, async () => {
      const { server, path, events } = await serve(exports, { limits });
      for (let round = 0; round < 2; round++) {
        const wires = [await Wire.greeted(path), await Wire.greeted(path)];
        for (const wire of wires) ask(wire);
        expect(server.metrics.connections.open).toBe(2);
        await Promise.all(wires.map(({ ended }) => ended));
        await until(() => server.metrics.connections.open === 0);
      }
      expect(events.map(({ event, error }) => `${event} ${String(error)}`)).toEqual(
        Array(4).fill('refused Error: no export chosen in 0.2 s'),
      );
    });

  it('and the export is available to later clients once it has opened or closed', async () => {
    let opened = 0;
    const [gate, closing] = [deferred<BlockBackend>(), deferred()];
    const open = (): Promise<BlockBackend> => (opened++, gate.promise);
    const { path, server } = await serve({ '': { open } }, { limits: { handshake: 0.2 } });
    for (let round = 0; round < 2; round++) await expect(connectToExport(path)).rejects.toThrow('the peer ended');
    const third = connectToExport(path);
    await sleep(50);
    gate.resolve(withOverrides(memory(MIB), { close: () => closing.promise }));
    await expectWorking(await third);
    expect(opened).toBe(1);
    (await third).socket.destroy();
    await until(() => server.openExports.length === 0);
    await expect(connectToExport(path)).rejects.toThrow('the peer ended');
    closing.resolve();
    await expectWorking(await connectToExport(path));
    expect(opened).toBe(2);
  });

  it('and a backend that nobody waits for is closed; a failure of that is logged', async () => {
    const gate = deferred<BlockBackend>();
    const { path, server, events } = await serve({ disk: { open: () => gate.promise } }, { limits });
    const wire = await Wire.greeted(path);
    wire.option(GO, text('disk'), u16(0));
    await wire.ended;
    await until(() => server.metrics.connections.open === 0);
    expect(server.openExports).toEqual(['disk']);
    const close = (): never => {
      throw new Error('no end');
    };
    gate.resolve(withOverrides(memory(MIB), { close }));
    await until(() => server.openExports.length === 0);
    await until(() => events.some(({ event }) => event === 'export'));
    expect(events.at(-1)).toMatchObject({ event: 'export', export: 'disk', error: { message: 'no end' } });
  });
});

describe('an export', () => {
  it('can be marked as rotational', async () => {
    const { path } = await serve({
      '': { open: () => memory(MIB) },
      hdd: { open: () => memory(MIB), rotational: true },
    });
    expect((await (await Wire.greeted(path)).openExport()) & (1 << 4)).toBe(0);
    expect((await (await Wire.greeted(path)).openExport('hdd')) & (1 << 4)).not.toBe(0);
  });

  it('accepts requests up to the configured size', async () => {
    const { path } = await serve(singleExport(memory(MIB)), { limits: { request: 100_000 } });
    const wire = await Wire.greeted(path);
    const sizes = (await wire.sendOption(GO, text(''), u16(1), u16(3))).find(({ data }) => data.readUInt16BE(0) === 3);
    expect(sizes?.data).toEqual(hex('0003 00000001 00001000 000186a0'));
    wire.send(request({ type: 0, length: 100_001 }), request({ type: 0, cookie: 2, length: 100_000 }));
    wire.send(request({ type: 1, cookie: 3, length: 100_001 }), Buffer.alloc(100_001));
    expect([await wire.simple(), await wire.simple(2)]).toEqual([EINVAL, 0]);
    await wire.read(100_000);
    expect(await wire.simple(3)).toBe(EINVAL);
    for (const most of [64 * KIB - 1, 256 * MIB + 1, 100_000.5, Number.NaN])
      expect(() => new NbdServer({ exports: {}, limits: { request: most } })).toThrow(RangeError);
    const sectors = withOverrides(memory(MIB), { blockSizes: { minimum: 4096, preferred: 4096, maximum: 32 * MIB } });
    const { path: other } = await serve(singleExport(sectors), { limits: { request: 100_000 } });
    const told = await (await Wire.greeted(other)).sendOption(INFO, text(''), u16(0));
    expect(told.at(-2)?.data).toEqual(hex('0003 00001000 00001000 00018000'));
    expect(await (await Wire.greeted(other)).finalReply(INFO, text('none'), u16(0))).toBe(UNKNOWN);
    expect(told.at(-1)?.type).toBe(ACK);
  });

  it('accepts requests above 32 MiB if the server allows them and announces it', async () => {
    const limits = { request: 64 * MIB, inFlight: MIB, shared: MIB };
    const { path, uri, server } = await serve(singleExport(memory(80 * MIB)), { limits });
    const wire = await Wire.greeted(path);
    const told = await wire.sendOption(GO, text(''), u16(1), u16(3));
    expect(told.find(({ data }) => data.readUInt16BE(0) === 3)?.data).toEqual(hex('0003 00000001 00001000 04000000'));
    const bytes = pattern(64 * MIB);
    wire.send(request({ type: 1, offset: 8, length: 64 * MIB }), bytes);
    wire.send(request({ type: 0, cookie: 2, offset: 8, length: 64 * MIB }));
    wire.send(request({ type: 0, cookie: 3, length: 64 * MIB + 1 }));
    expect([await wire.simple(), await wire.simple(2)]).toEqual([0, 0]);
    expect((await wire.read(64 * MIB)).equals(bytes)).toBe(true);
    expect(await wire.simple(3)).toBe(EINVAL);
    await until(() => server.heldBytes === 0);
    // Our own client requests no more at once than its own limit and the announced maximum.
    const disk = await connectNbd(uri());
    expect(disk.blockSizes?.maximum).toBe(64 * MIB);
    const read = Buffer.alloc(64 * MIB);
    await disk.read(read, 8);
    expect(read.equals(bytes)).toBe(true);
    await disk.close();
  });
});

/** Like go-nbd's client: no flags at all, then options. */
describe('a client that does not set the flag for fixed newstyle', () => {
  const LIST_OF_GO = hex('00000000 49484156454f5054 00000003 00000000');
  const CHOICE_OF_GO = hex('49484156454f5054 00000007 0000000e 00000004 6469736b 0002 0000 0003');

  it('gets its options answered, lists, chooses, and reads', async () => {
    const { path } = await serve({ disk: { open: () => memory(MIB), description: 'D' } });
    const wire = await Wire.connect(path);
    expect(await wire.read(18)).toEqual(HELLO);
    wire.send(LIST_OF_GO);
    expect(await wire.reply()).toEqual({
      option: LIST,
      type: 2,
      data: Buffer.concat([text('disk'), Buffer.from('D')]),
    });
    expect((await wire.reply()).type).toBe(ACK);
    wire.send(CHOICE_OF_GO);
    const types: number[] = [];
    while (types.at(-1) !== ACK) types.push((await wire.reply()).type);
    expect(types).toEqual([3, 3, 3, ACK].slice(-types.length));
    await expectWorking(wire);
  });

  it('gets the zeros that it did not decline, after EXPORT_NAME', async () => {
    const { path } = await serve({ disk: { open: () => memory(MIB) } });
    const wire = await Wire.greeted(path, 0);
    wire.option(1, Buffer.from('disk'));
    const chosen = await wire.read(10 + 124);
    expect([chosen.readBigUInt64BE(0), chosen.subarray(10)]).toEqual([BigInt(MIB), Buffer.alloc(124)]);
    await expectWorking(wire);
  });

  it('is answered by nbdkit and nbd-server too, each in its own way', async () => {
    requirePrograms('nbdkit', 'nbd-server');
    const folder = tempDir();
    const [kit, server] = [join(folder, 'kit'), join(folder, 'server')];
    await startServer(kit, 'nbdkit', '-f', '-U', kit, 'memory', '1M');
    writeFileSync(join(folder, 'disk'), Buffer.alloc(4096));
    writeFileSync(
      join(folder, 'config'),
      `[generic]\nunixsock = ${server}\nport = ${await freePort()}\nallowlist = true\n[disk]\nexportname = ${folder}/disk\n`,
    );
    // It serves more than one client only as a background process.
    await startServer(server, 'nbd-server', '-C', join(folder, 'config'), '-p', join(folder, 'pid'));
    onTestFinished(() => void process.kill(Number(readFileSync(join(folder, 'pid'), 'utf8'))));
    const answers: number[] = [];
    for (const path of [kit, server]) {
      const wire = await Wire.connect(path);
      expect(await wire.read(18)).toEqual(HELLO);
      wire.send(LIST_OF_GO);
      answers.push((await wire.reply()).type);
    }
    expect(answers).toEqual([refusal(3), 2]); // nbdkit refuses the option; nbd-server lists
  });
});
