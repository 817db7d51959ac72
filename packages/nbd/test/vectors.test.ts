/** The server, byte by byte: messages that the installed clients do not send, and that no good client would send. */
import { memory } from '@nodeos/block';
import { describe, expect, it } from 'vitest';
import { withOverrides, deferred, withoutClose, KIB, MIB, singleExport, pattern, serve, until } from './support.js';
import { ACK, extendedRequest, hex, refusal, request, text, u16, u32, u64, Wire, type RequestFields } from './wire.js';

const UNSUP = refusal(1);
const INVALID = refusal(3);
const UNKNOWN = refusal(6);
const BLOCK_SIZE_REQD = refusal(8);
const TOO_BIG = refusal(9);
const EXT_HEADER_REQD = refusal(10);
const [READ, WRITE, DISC, FLUSH, TRIM, ZEROES, STATUS] = [0, 1, 2, 3, 4, 6, 7];
const [EPERM, EINVAL, ENOSPC] = [1, 22, 28];
const PAYLOAD_LEN = 1 << 5;
const TIB = 2 ** 40;

const small = () => serve(singleExport(memory(MIB)));

describe('options', () => {
  it('end with EXPORT_NAME, with and without the zeros', async () => {
    const { path } = await small();
    for (const [flags, zeros] of [
      [0, 124],
      [1, 124],
      [2, 0],
      [3, 0],
    ] as const) {
      const wire = await Wire.greeted(path, flags);
      wire.option(1);
      // HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN, RESIZE, FAST_ZERO; no DF, because replies are not
      // structured.
      expect(await wire.read(10 + zeros)).toEqual(Buffer.concat([hex('0000000000100000 0b6d'), Buffer.alloc(zeros)]));
      wire.send(request({ type: FLUSH }));
      expect(await wire.simple()).toBe(0);
    }
  });

  it('that violate the protocol end the connection', async () => {
    const { path, events } = await small();
    const rude: [string, (wire: Wire) => void][] = [
      ['an export that is not there', (wire) => wire.option(1, Buffer.from('none'))],
      ['an option without its magic number', (wire) => wire.send(hex('49484156454f5055 00000003 00000000'))],
      ['an absurd length', (wire) => wire.send(hex('49484156454f5054 00000063 ffffffff'))],
      ['an absurd name', (wire) => wire.option(1, Buffer.alloc(5000, 0x61))],
      ['only half an option', (wire) => wire.send(hex('49484156454f5054 000000')) ?? wire.socket.end()],
      [
        'only half of what is skipped',
        (wire) => wire.send(hex('49484156454f5054 00000063 00f00000 01')) ?? wire.socket.end(),
      ],
      ['half a name', (wire) => wire.send(hex('49484156454f5054 00000007 00000010 0000')) ?? wire.socket.end()],
    ];
    for (const [index, [what, send]] of rude.entries()) {
      const wire = await Wire.greeted(path);
      send(wire);
      expect([what, await wire.readToEnd()]).toEqual([what, Buffer.alloc(0)]);
      await until(() => events.filter(({ event }) => event === 'refused').length === index + 1);
    }
    for (const flags of [4, 0x80000003, 0xffffffff]) await (await Wire.greeted(path, flags)).ended;
  });

  it('that are unknown, too big or invalidly empty are answered, and the next one is read', async () => {
    const { path } = await serve({ a: { open: () => memory(MIB) }, b: { open: () => memory(MIB), description: 'B' } });
    const wire = await Wire.greeted(path);
    expect(await wire.finalReply(99, Buffer.alloc(1000, 0xff))).toBe(UNSUP);
    expect(await wire.finalReply(4)).toBe(UNSUP);
    expect(await wire.finalReply(0xffffffff, Buffer.alloc(256 * KIB))).toBe(UNSUP);
    expect(await wire.finalReply(99, Buffer.alloc(MIB))).toBe(TOO_BIG);
    expect(await wire.finalReply(3, Buffer.alloc(300 * KIB))).toBe(TOO_BIG);
    expect(await wire.finalReply(3, hex('00'))).toBe(INVALID);
    for (const wrong of [
      '',
      '0000',
      '00000001',
      '00000001 61',
      '00000001 61 0001',
      '00000001 61 0000 00',
      '00000001 ff 0000',
    ])
      expect([wrong, await wire.finalReply(7, hex(wrong))]).toEqual([wrong, INVALID]);
    expect(await wire.finalReply(7, text('a'.repeat(4097)), u16(0))).toBe(INVALID);
    expect(await wire.finalReply(7, text('a\0'), u16(0))).toBe(INVALID);
    expect(await wire.finalReply(5)).toBe(refusal(2));
    expect((await wire.sendOption(3)).map(({ type, data }) => [type, data.toString('latin1')])).toEqual([
      [2, '\0\0\0\x01a'],
      [2, '\0\0\0\x01bB'],
      [ACK, ''],
    ]);
    expect(await wire.finalReply(7, text('none'), u16(0))).toBe(UNKNOWN);
    await wire.openExport('b');
    wire.send(request({ type: READ, length: 1 }));
    expect([await wire.simple(), await wire.read(1)]).toEqual([0, hex('00')]);
  });

  it('may all arrive at once', async () => {
    const { path } = await small();
    const wire = await Wire.connect(path);
    const option = (number: number, data = Buffer.alloc(0)): Buffer =>
      Buffer.concat([hex('49484156454f5054'), u32(number), u32(data.length), data]);
    wire.send(u32(3), option(8), option(99), option(7, Buffer.concat([text(''), u16(0)])));
    wire.send(
      request({ type: WRITE, offset: 3, length: 2 }),
      hex('aabb'),
      request({ type: READ, cookie: 2, length: 6 }),
    );
    await wire.read(18);
    expect([await wire.reply(), await wire.reply()]).toMatchObject([{ type: ACK }, { type: UNSUP }]);
    expect([await wire.reply(), await wire.reply(), await wire.reply()]).toMatchObject([
      { type: 3, data: hex('0000 0000000000100000 0bed') },
      { type: 3, data: hex('0003 00000001 00001000 02000000') },
      { type: ACK },
    ]);
    expect(await wire.simple()).toBe(0);
    expect(await wire.chunk()).toMatchObject({
      flags: 1,
      type: 1,
      cookie: 2n,
      data: hex('0000000000000000 000000aabb00'),
    });
  });

  it('report what INFO asks for, without choosing an export', async () => {
    const { path, server } = await serve({ a: { open: () => memory(MIB), description: 'the first' } });
    const wire = await Wire.greeted(path);
    const replies = await wire.sendOption(6, text('a'), u16(3), u16(1), u16(2), u16(77));
    expect(replies.map(({ type, data }) => [type, data.subarray(0, 2).toString('hex')])).toEqual([
      ...['0000', '0001', '0002', '0003'].map((info) => [3, info]),
      [ACK, ''],
    ]);
    expect(replies[1]?.data.subarray(2).toString()).toBe('a');
    expect(replies[2]?.data.subarray(2).toString()).toBe('the first');
    await until(() => server.openExports.length === 0);
    expect(await wire.finalReply(2)).toBe(ACK);
    expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
  });

  it('must ask for unusual block sizes', async () => {
    const sized = (minimum: number) => () =>
      withOverrides(memory(MIB), { blockSizes: { minimum, preferred: 8192, maximum: 2 ** 40 } });
    const { path } = await serve({ sectors: { open: sized(512) }, pages: { open: sized(4096) } });
    const wire = await Wire.greeted(path);
    const refused = await wire.sendOption(7, text('pages'), u16(0));
    expect(refused.at(-1)?.type).toBe(BLOCK_SIZE_REQD);
    expect(refused.at(-2)?.data).toEqual(hex('0003 00001000 00002000 02000000'));
    expect(await wire.finalReply(6, text('pages'), u16(0))).toBe(ACK);
    expect(await wire.finalReply(7, text('sectors'), u16(0))).toBe(ACK);
  });
});

describe('metadata contexts', () => {
  const set = (name: string, ...queries: string[]): Buffer =>
    Buffer.concat([text(name), u32(queries.length), ...queries.map(text)]);
  const status = request({ type: STATUS, length: MIB });

  it('require structured replies and are chosen by name', async () => {
    const { path } = await small();
    const wire = await Wire.greeted(path);
    for (const option of [9, 10]) expect(await wire.finalReply(option, set('', 'base:allocation'))).toBe(INVALID);
    expect(await wire.finalReply(8, hex('00'))).toBe(INVALID);
    expect(await wire.finalReply(8)).toBe(ACK);
    expect(await wire.finalReply(8)).toBe(INVALID);
    for (const option of [9, 10]) {
      expect(await wire.finalReply(option, set('none', 'base:allocation'))).toBe(UNKNOWN);
      expect(await wire.finalReply(option, set('', 'nonsense'))).toBe(INVALID);
      expect(await wire.finalReply(option, set('', 'base:allocation'), hex('00'))).toBe(INVALID);
      expect(await wire.finalReply(option, text(''), u32(2), text('base:'))).toBe(INVALID);
      expect(await wire.finalReply(option, text(''), u32(0xffffffff))).toBe(TOO_BIG);
    }
    const found = async (option: number, ...queries: string[]): Promise<string[]> =>
      (await wire.sendOption(option, set('', ...queries))).map(
        ({ type, data }) => `${type} ${data.toString('latin1')}`,
      );
    const listed = '4 \0\0\0\0base:allocation';
    expect(await found(9)).toEqual([listed, '1 ']);
    expect(await found(9, 'base:', 'base:allocation')).toEqual([listed, '1 ']);
    expect(await found(9, 'base:other', 'x-other:')).toEqual(['1 ']);
    expect(await found(10)).toEqual(['1 ']);
    expect(await found(10, 'base:')).toEqual(['1 ']);
    expect(await found(10, 'x-other:a', 'base:allocation')).toEqual(['4 \0\0\0\x01base:allocation', '1 ']);
    await wire.openExport();
    wire.send(status);
    expect(await wire.chunk()).toMatchObject({ type: 5, flags: 1, data: hex('00000001 00100000 00000003') });
  });

  it('apply to one export only, and not after a failed choice', async () => {
    const { path } = await serve({ a: { open: () => memory(MIB) }, b: { open: () => memory(MIB) } });
    const failing: [string, Buffer][] = [
      ['b', Buffer.alloc(0)],
      ['a', set('none', 'base:allocation')],
      ['a', hex('00')],
      ['a', set('a')],
    ];
    for (const [name, second] of failing) {
      const wire = await Wire.greeted(path);
      await wire.sendOption(8);
      expect(await wire.finalReply(10, set('a', 'base:allocation'))).toBe(ACK);
      if (second.length > 0) await wire.sendOption(10, second);
      await wire.openExport(name);
      wire.send(status);
      const { type, data } = await wire.chunk();
      expect([type, data.readUInt32BE(0)]).toEqual([0x8001, EINVAL]);
    }
  });
});

describe('requests', () => {
  async function going(structured: boolean, backend = memory(MIB), readOnly = false): Promise<Wire> {
    const { path } = await serve({ '': { open: () => withoutClose(backend), readOnly } });
    const wire = await Wire.greeted(path);
    if (structured) await wire.sendOption(8);
    await wire.openExport();
    return wire;
  }

  it('that are refused have their data skipped', async () => {
    const wire = await going(false, memory(MIB), true);
    // The data looks like a request and must not be treated as one.
    const trap = request({ type: READ, cookie: 666, length: 1 });
    wire.send(request({ type: WRITE, length: 28 }), trap);
    expect(await wire.simple()).toBe(EPERM);
    wire.send(request({ type: WRITE, cookie: 2, length: 2 * MIB }), Buffer.alloc(2 * MIB, trap));
    expect(await wire.simple(2)).toBe(EPERM);
    wire.send(request({ type: 99, cookie: 3, length: 12 }), request({ type: READ, cookie: 4, offset: 1, length: 2 }));
    expect(await wire.simple(3)).toBe(EINVAL);
    expect([await wire.simple(4), await wire.read(2)]).toEqual([0, hex('0000')]);
    const other = await going(false);
    other.send(request({ type: WRITE, flags: 1 << 9, length: 28 }), trap);
    expect(await other.simple()).toBe(EINVAL);
    other.send(request({ type: WRITE, offset: MIB - 1, length: 28 }), trap);
    expect(await other.simple()).toBe(ENOSPC);
    other.send(request({ type: READ, cookie: 2n ** 64n - 1n, length: 1 }));
    expect([await other.simple(2n ** 64n - 1n), await other.read(1)]).toEqual([0, hex('00')]);
  });

  it('of absurd length or without their magic number end the connection', async () => {
    for (const bytes of [
      request({ type: WRITE, length: 0xffffffff }),
      Buffer.concat([hex('25609514'), Buffer.alloc(24)]),
      extendedRequest({ type: READ, length: 1 }),
    ]) {
      const wire = await going(true);
      wire.send(bytes);
      expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
    }
  });

  it('of length 0 succeed without effect', async () => {
    const types = [READ, WRITE, TRIM, ZEROES];
    const simple = await going(false);
    for (const type of types) simple.send(request({ type, offset: MIB }));
    for (const type of types) expect([type, await simple.simple()]).toEqual([type, 0]);
    const structured = await going(true);
    structured.send(request({ type: READ }), request({ type: STATUS }));
    expect(await structured.chunk()).toMatchObject({ type: 0, flags: 1, data: Buffer.alloc(0) });
    expect((await structured.chunk()).data.readUInt32BE(0)).toBe(EINVAL);
  });

  it('with DF, or for the block status, need structured replies', async () => {
    const wire = await going(false);
    wire.send(request({ type: READ, flags: 4, length: 1 }), request({ type: STATUS, length: 1 }));
    expect([await wire.simple(), await wire.simple()]).toEqual([EINVAL, EINVAL]);
  });

  it('that are under way when the client leaves are finished', async () => {
    const [gate, written] = [deferred(), deferred()];
    const slow = withOverrides(memory(MIB), {
      write: () => gate.promise.then(written.resolve),
      read: async (into) => gate.promise.then(() => void into.fill(7)),
    });
    const { path, server } = await serve({ '': { open: () => slow } });
    for (const leave of ['DISC', 'FIN']) {
      const wire = await Wire.greeted(path);
      await wire.openExport();
      wire.send(request({ type: WRITE, length: 1 }), hex('61'), request({ type: READ, cookie: 2, length: 2 }));
      if (leave === 'DISC') wire.send(request({ type: DISC }), hex('ff'));
      else wire.socket.end();
      await until(() => server.openExports.length === 1);
      setTimeout(() => gate.resolve(), 20);
      expect([await wire.simple(), await wire.simple(2), await wire.read(2)]).toEqual([0, 0, hex('0707')]);
      await written.promise;
      expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
      wire.socket.end();
    }
    await until(() => server.openExports.length === 0);
  });
});

describe('extended headers', () => {
  async function extended(size: number, contexts = true): Promise<{ wire: Wire; flags: number }> {
    const { path } = await serve({ '': { open: () => memory(size, { pageSize: 16 * MIB }) } });
    const wire = await Wire.greeted(path);
    expect(await wire.finalReply(11, hex('00'))).toBe(INVALID);
    expect([await wire.finalReply(11), await wire.finalReply(11)]).toEqual([ACK, INVALID]);
    expect(await wire.finalReply(8)).toBe(EXT_HEADER_REQD);
    if (contexts) expect(await wire.finalReply(10, text(''), u32(1), text('base:allocation'))).toBe(ACK);
    return { wire, flags: await wire.openExport() };
  }
  const ask = (wire: Wire, asked: RequestFields, ...payload: Buffer[]): ReturnType<Wire['extendedChunk']> => {
    wire.send(extendedRequest(asked), ...payload);
    return wire.extendedChunk();
  };

  it('have lengths and replies of 64 bits', async () => {
    const { wire, flags } = await extended(8 * TIB);
    expect(flags & (1 << 12)).not.toBe(0);
    const bytes = pattern(1000);
    const write = { type: WRITE, flags: PAYLOAD_LEN, offset: 5 * TIB, length: 1000, cookie: 0xfedcba9876543210n };
    const done = { flags: 1, type: 0, offset: BigInt(5 * TIB), data: Buffer.alloc(0) };
    expect(await ask(wire, write, bytes)).toEqual({ ...done, cookie: 0xfedcba9876543210n });
    expect(await ask(wire, { ...write, flags: 0, cookie: 2 }, bytes)).toEqual({ ...done, cookie: 2n });
    expect(await ask(wire, { type: READ, offset: 5 * TIB, length: 1000 })).toEqual({
      ...{ flags: 1, type: 1, cookie: 1n, offset: BigInt(5 * TIB), data: Buffer.concat([u64(5 * TIB), bytes]) },
    });
    const state = await ask(wire, { type: STATUS, length: 8 * TIB });
    expect(state.type).toBe(6);
    expect(state.data).toEqual(
      Buffer.concat([
        u32(1),
        u32(3),
        ...[u64(5 * TIB), u64(3), u64(16 * MIB), u64(0), u64(3 * TIB - 16 * MIB), u64(3)],
      ]),
    );
    const one = await ask(wire, { type: STATUS, flags: 8, length: 8 * TIB });
    expect(one.data).toEqual(Buffer.concat([u32(1), u32(1), u64(5 * TIB), u64(3)]));
    expect(await ask(wire, { type: ZEROES, length: 8 * TIB })).toMatchObject({ type: 0 });
    const gone = await ask(wire, { type: STATUS, length: 8 * TIB });
    expect(gone.data).toEqual(Buffer.concat([u32(1), u32(1), u64(8 * TIB), u64(3)]));
  });

  it('limit a block status to the contexts in its payload', async () => {
    const { wire } = await extended(8 * TIB);
    const filtered = (...payload: Buffer[]): ReturnType<Wire['extendedChunk']> =>
      ask(wire, { type: STATUS, flags: PAYLOAD_LEN, length: Buffer.concat(payload).length }, ...payload);
    const found = await filtered(u64(6 * TIB), u32(1));
    expect([found.type, found.data]).toEqual([6, Buffer.concat([u32(1), u32(1), u64(6 * TIB), u64(3)])]);
    for (const wrong of [
      [u64(1)],
      [u64(1), u32(2)],
      [u64(1), u32(1), u32(1)],
      [u64(9 * TIB), u32(1)],
      [u64(0), u32(1)],
    ]) {
      const { type, data } = await filtered(...wrong);
      expect([type, data.readUInt32BE(0)]).toEqual([0x8001, EINVAL]);
    }
    for (const length of [1, 13, 5000]) expect((await filtered(Buffer.alloc(length, 1))).type).toBe(0x8001);
    expect(await ask(wire, { type: FLUSH })).toMatchObject({ type: 0 });
  });

  it('repeat an offset beyond any device, and skip the announced payload of other commands', async () => {
    const { wire, flags } = await extended(MIB, false);
    expect(flags & (1 << 12)).toBe(0);
    for (const offset of [2n ** 64n - 1n, 2n ** 63n, 2n ** 53n + 1n])
      for (const type of [READ, TRIM, 77])
        expect(await ask(wire, { type, offset, length: 2n ** 64n - 1n })).toMatchObject({ type: 0x8001, offset });
    for (const type of [READ, TRIM, FLUSH, STATUS, 77])
      expect(await ask(wire, { type, flags: PAYLOAD_LEN, length: 100_000 }, Buffer.alloc(100_000, 0x21))).toMatchObject(
        {
          type: 0x8001,
        },
      );
    expect(await ask(wire, { type: STATUS, length: 1 })).toMatchObject({ type: 0x8001 });
    wire.send(extendedRequest({ type: READ, flags: PAYLOAD_LEN, length: 2n ** 63n }));
    expect(await wire.readToEnd()).toEqual(Buffer.alloc(0));
  });
});
