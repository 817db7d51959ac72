/** Commands of the server with unusual backends and large replies. */
import { failure, memory, type BlockBackend, type Extent } from '@nodeos/block';
import { describe, expect, it } from 'vitest';
import { withOverrides, deferred, KIB, MIB, singleExport, pattern, serve, until } from './support.js';
import { ACK, connectToExport, extendedRequest, request, text, u32, u64, Wire } from './wire.js';

const [READ, ZEROES, STATUS] = [0, 6, 7];
const PAYLOAD_LEN = 1 << 5;
const [EIO, EINVAL] = [5, 22];
const [DATA, HOLE] = [1, 2];

/** Alternating extents of data and holes, each of `grain` bytes. */
const striped =
  (grain: number) =>
  (offset: number, length: number): Extent[] => {
    const hole = (at: number): boolean => (at / grain) % 2 === 1;
    return Array.from({ length: length / grain }, (_, index) => offset + index * grain).map((at) => ({
      ...{ offset: at, length: grain, hole: hole(at), zero: hole(at) },
    }));
  };

/** A client with structured replies or extended headers, and base:allocation. */
async function asking(backend: BlockBackend, option: 8 | 11, inFlight = 4 * MIB): Promise<Wire> {
  const { path } = await serve(singleExport(backend), { limits: { inFlight } });
  const wire = await Wire.greeted(path);
  expect(await wire.finalReply(option)).toBe(ACK);
  expect(await wire.finalReply(10, text(''), u32(1), text('base:allocation'))).toBe(ACK);
  await wire.openExport();
  return wire;
}

describe('zeros for a backend without zero()', () => {
  it('are written exactly where they belong', async () => {
    const backend = memory(4 * MIB);
    const before = pattern(4 * MIB);
    await backend.write?.(before, 0);
    const { path } = await serve(singleExport(withOverrides(backend, { zero: undefined })));
    const wire = await connectToExport(path);
    const [offset, length] = [MIB / 2 + 3, 2 * MIB + 5];
    wire.send(request({ type: ZEROES, offset, length }));
    expect(await wire.simple()).toBe(0);
    const after = Buffer.alloc(4 * MIB);
    await backend.read(after, 0);
    expect(after.equals(before.fill(0, offset, offset + length))).toBe(true);
  });

  it('are not written any more once the client has gone', async () => {
    const [gate, written] = [deferred(), [] as number[]];
    const write = (_bytes: Uint8Array, offset: number): Promise<void> => (written.push(offset), gate.promise);
    const { path, server } = await serve({
      '': { open: () => withOverrides(memory(8 * MIB), { zero: undefined, write }) },
    });
    const wire = await connectToExport(path);
    wire.send(request({ type: ZEROES, length: 8 * MIB }), Buffer.alloc(28));
    // The second request is invalid, so the server breaks the connection.
    await wire.ended;
    expect([written, server.openExports]).toEqual([[0], ['']]);
    gate.resolve();
    await until(() => server.openExports.length === 0);
    expect(written).toEqual([0]);
  });
});

describe('a read', () => {
  const pieces = async (count: number): Promise<number[]> => {
    const grain = 4 * KIB;
    const wire = await asking(withOverrides(memory(MIB), { extents: striped(grain) }), 8);
    wire.send(request({ type: READ, length: count * grain }));
    const types: number[] = [];
    for (;;) {
      const { type, flags } = await wire.chunk();
      types.push(type);
      if (flags & 1) return types;
    }
  };

  it('has at most 64 pieces', async () => {
    expect(await pieces(64)).toEqual(Array.from({ length: 64 }, (_, index) => (index % 2 ? HOLE : DATA)));
    expect(await pieces(65)).toEqual([DATA]);
  });

  it('works for a backend that cannot report extents', async () => {
    const broken = (): never => {
      throw failure('EIO', 'no map');
    };
    for (const extents of [broken, () => Promise.resolve().then(broken)]) {
      const backend = memory(MIB);
      const bytes = pattern(64 * KIB);
      await backend.write?.(bytes, 0);
      const wire = await asking(withOverrides(backend, { extents }), 8);
      wire.send(request({ type: READ, length: 64 * KIB }));
      expect(await wire.chunk()).toMatchObject({ type: DATA, flags: 1, data: Buffer.concat([u64(0), bytes]) });
      wire.send(request({ type: STATUS, length: 64 * KIB }));
      expect((await wire.chunk()).data.readUInt32BE(0)).toBe(EIO);
    }
  });
});

describe('a block status', () => {
  it('requires whole blocks, even if its payload holds the length', async () => {
    const sizes = { minimum: 512, preferred: 4096, maximum: MIB };
    const wire = await asking(withOverrides(memory(MIB), { blockSizes: sizes }), 11);
    const error = async (offset: number, length: number): Promise<number> => {
      const payload = Buffer.concat([u64(length), u32(1)]);
      const asked = { type: STATUS, flags: PAYLOAD_LEN, offset, length: payload.length };
      wire.send(extendedRequest(asked), payload);
      const { type, data } = await wire.extendedChunk();
      return type === 6 ? 0 : data.readUInt32BE(0);
    };
    expect(await error(512, 1024)).toBe(0);
    expect(await error(100, 1024)).toBe(EINVAL);
    expect(await error(512, 1000)).toBe(EINVAL);
  });

  it('has at most 2^20 extents', async () => {
    const grain = 512;
    const size = (2 ** 20 + 2) * grain;
    const wire = await asking(withOverrides(memory(size), { extents: striped(grain) }), 8, 256 * MIB);
    wire.send(request({ type: STATUS, length: size }));
    const { type, data } = await wire.chunk();
    expect([type, data.length]).toEqual([5, 4 + 8 * 2 ** 20]);
  });

  it('merges the results of successive backend calls', async () => {
    const grain = 2 ** 30;
    const extents = (offset: number, length: number): Extent[] => [
      { offset, length, hole: offset >= 2 * grain, zero: offset >= 2 * grain },
    ];
    const wire = await asking(withOverrides(memory(5 * grain), { extents }), 11);
    wire.send(extendedRequest({ type: STATUS, length: 5 * grain }));
    expect((await wire.extendedChunk()).data).toEqual(
      Buffer.concat([u32(1), u32(2), ...[2 * grain, 0, 3 * grain, 3].map(u64)]),
    );
  });
});
