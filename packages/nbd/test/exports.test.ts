/**
 * Exports come from users' own code: the server reports mistakes when an export is opened, not by a client's failure.
 */
import { memory, type BlockBackend } from '@nodeos/block';
import { describe, expect, it } from 'vitest';
import { NbdServer, type Export } from '../index.js';
import { withOverrides, MIB, serve, until } from './support.js';
import { connectToExport, refusal, request, text, u16, Wire, expectWorking } from './wire.js';

const GO = 7;
const UNKNOWN = refusal(6);

const own = (of: object): BlockBackend => ({ size: 512, read: () => undefined, close: () => undefined, ...of });

describe('an invalid backend is refused when it is opened, and the log says why:', () => {
  const cases: [string, unknown, string][] = [
    ['nothing', undefined, 'it is undefined, and not an object'],
    ['a function', () => memory(MIB), 'it is a function, and not an object'],
    ['a size that is a function', own({ size: () => 512 }), 'its size is a function'],
    ['a size as BigInt', own({ size: 512n }), 'its size is 512n'],
    ['a size that is no number', own({ size: NaN }), 'its size is NaN'],
    ['a size below nothing', own({ size: -1 }), 'its size is -1'],
    ['a part of a byte', own({ size: 0.5 }), 'its size is 0.5'],
    ['a size as text', own({ size: '512' }), 'its size is "512"'],
    ['no size', own({ size: undefined }), 'its size is undefined'],
    ['no read', own({ read: undefined }), 'it has no read()'],
    ['no close', own({ close: undefined }), 'it has no close()'],
    ['a write that is no function', own({ write: true }), 'its write is true, and not a function'],
    ['extents that are no function', own({ extents: [] }), 'its extents is an object, and not a function'],
    ['blocks of 1000 bytes', own({ blockSizes: { minimum: 1000, preferred: 4096, maximum: MIB } }), 'its blockSizes are 1000, 4096 and 1048576'],
    ['blocks of nothing', own({ blockSizes: null }), 'its blockSizes are NaN, NaN and NaN'],
    ['a maximum below the minimum', own({ blockSizes: { minimum: 512, preferred: 512, maximum: 1 } }), 'its blockSizes are 512, 512 and 1'],
  ]; // prettier-ignore

  it.each(cases)('%s', async (_what, backend, why) => {
    const { path, server, events } = await serve({
      disk: { open: () => backend as BlockBackend },
      '': { open: () => memory(MIB) },
    });
    const wire = await Wire.greeted(path);
    expect(await wire.finalReply(GO, text('disk'), u16(0))).toBe(UNKNOWN);
    expect(events).toMatchObject([
      {
        event: 'export',
        export: 'disk',
        error: {
          code: 'EINVAL',
          message: expect.stringContaining(`what the export "disk" opens is no backend: ${why}`),
        },
      },
    ]);
    await wire.openExport();
    await expectWorking(wire);
    expect(server.openExports).toEqual(['']);
  });

  it('it is closed if possible', async () => {
    let closed = false;
    const { path } = await serve({
      disk: { open: () => withOverrides(memory(MIB), { size: NaN, close: () => void (closed = true) }) },
    });
    await (await Wire.greeted(path)).finalReply(GO, text('disk'), u16(0));
    await until(() => closed);
  });

  it('EXPORT_NAME can only be answered by closing the connection', async () => {
    const { path, events } = await serve({ disk: { open: () => own({ size: 1n }) } });
    const wire = await Wire.greeted(path);
    wire.option(1, Buffer.from('disk'));
    expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
    await until(() => events.length > 0);
    expect(events[0]?.error).toMatchObject({ message: expect.stringContaining('its size is 1n') });
  });
});

it('an invalid view ends the connection, and the log says why', async () => {
  const view = (backend: BlockBackend): Promise<BlockBackend> => Promise.resolve(backend);
  const { path, events } = await serve({ '': { open: () => memory(MIB), view } as unknown as Export });
  await (
    await connectToExport(path)
  ).ended;
  await until(() => events.some(({ error }) => error !== undefined));
  expect(events.find(({ error }) => error !== undefined)?.error).toMatchObject({
    message:
      'the view of the export "" is no backend: its size is undefined, and not a whole number of bytes from 0 to 2^53',
  });
});

it('an export without open() is refused by the constructor, or when a resolver returns it', async () => {
  const words = 'the export "disk" has no open(), which gives its backend';
  expect(() => new NbdServer({ exports: { disk: memory(MIB) as unknown as Export } })).toThrow(new TypeError(words));
  const { path, events } = await serve({ find: () => memory(MIB) as unknown as Export });
  expect(await (await Wire.greeted(path)).finalReply(GO, text('disk'), u16(0))).toBe(UNKNOWN);
  expect(events[0]?.error).toMatchObject({ code: 'EINVAL', message: words });
});

it('an export that is not shared is opened for each connection, and clients know that', async () => {
  const [opened, closed] = [[] as BlockBackend[], [] as BlockBackend[]];
  const open = (): BlockBackend => {
    const own = memory(MIB);
    opened.push(own);
    return withOverrides(own, { close: () => void closed.push(own) });
  };
  const { path, server } = await serve({ '': { open, shared: false }, other: { open: () => memory(MIB) } });
  const wires = [await Wire.greeted(path), await Wire.greeted(path)];
  const flags: number[] = [];
  for (const wire of wires) flags.push(await wire.openExport());
  expect(flags.map((all) => all & (1 << 8))).toEqual([0, 0]);
  expect((await (await Wire.greeted(path)).openExport('other')) & (1 << 8)).not.toBe(0);
  expect(opened).toHaveLength(2);
  for (const [index, wire] of wires.entries()) {
    wire.send(request({ type: 1, cookie: 5, length: 4 }), Buffer.from(`own${index}`));
    expect(await wire.simple(5)).toBe(0);
  }
  for (const [index, wire] of wires.entries()) {
    wire.send(request({ type: 0, cookie: 6, length: 4 }));
    expect([await wire.simple(6), String(await wire.read(4))]).toEqual([0, `own${index}`]);
  }
  wires[0]?.socket.destroy();
  await until(() => closed.length === 1);
  expect([closed[0] === opened[0], server.openExports]).toEqual([true, ['', 'other']]);
});
