import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import * as protocol from '../protocol.js';

const header = await readFile(new URL('../../linuxfs-kernel/nodefs/protocol.h', import.meta.url), 'utf8');

/** The fields of a packed struct with their offsets, as C lays them out. */
function fieldsOf(name: string): { size: number; fields: Record<string, number> } {
  const body = new RegExp(`struct ${name} \\{([^}]*)\\}`).exec(header)?.[1] ?? '';
  const fields: Record<string, number> = {};
  let size = 0;
  for (const [, bits, field = '', count = '1'] of body.matchAll(/__(?:le|u)(\d+) (\w+)(?:\[(\w+)\])?;/g)) {
    fields[field] = size;
    size += (Number(bits) / 8) * (count === 'NODEFS_SLOTS' ? 16 : Number(count));
  }
  return { size, fields };
}

it('has the numbers of all operations that the kernel has', () => {
  const known = Object.fromEntries(
    [...header.matchAll(/^\tNODEFS_(\w+) = (\d+),/gm)]
      .filter(([, name = '']) => !name.startsWith('DISK_'))
      .map(([, name = '', number]) => [name, Number(number)]),
  );
  expect(protocol.OPS).toEqual(known);
});

it('has the numbers of the operations on disks', () => {
  const known = [...header.matchAll(/NODEFS_DISK_(\w+) = (\d+),/g)].map(([, name, number]) => [name, Number(number)]);
  expect(protocol.DISK_OPS).toEqual(Object.fromEntries(known));
});

it.each([
  ['VERSION', protocol.VERSION],
  ['MOUNTS', protocol.MOUNTS],
  ['DISKS', protocol.DISKS],
  ['MESSAGE_MAX', protocol.MESSAGE_MAX],
  ['READ_ONLY', protocol.READ_ONLY],
  ['CAN_TRIM', protocol.CAN_TRIM],
  ['CAN_ZERO', protocol.CAN_ZERO],
  ['NO_FOLLOW', protocol.NO_FOLLOW],
  ['WITH_STATS', protocol.WITH_STATS],
  ['DATA_ONLY', protocol.DATA_ONLY],
  ['CANCEL', protocol.CANCEL],
  ['CLONE', protocol.CLONE],
  ['THEN_SYNC', protocol.THEN_SYNC],
  ['AFTER_OPEN', protocol.AFTER_OPEN],
  ...Object.entries(protocol.O)
    .filter(([, number]) => number > protocol.O.RDWR)
    .map(([name, number]) => [`O_${name}`, number] as const),
  ['ATIME_NOW', protocol.ATIME_NOW],
  ['MTIME_NOW', protocol.MTIME_NOW],
] as const)('has the kernel’s %s', (name, value) => {
  expect(header).toMatch(new RegExp(`#define NODEFS_${name} (0x${value.toString(16)}|${value})\\b`));
});

it('writes the fields of a request where the kernel reads them', () => {
  const { size, fields } = fieldsOf('nodefs_request');
  const bytes = protocol.encodeRequest(7, {
    op: 'RENAME',
    mount: 2,
    slot: 3,
    handle: 4,
    flags: 5,
    mode: 6,
    uid: 8,
    gid: 9,
    name: Buffer.from('/a'),
    other: Buffer.from('/bcd'),
    offset: 2 ** 40 + 1,
    size: 11n,
    value: -1n,
    data: Buffer.from('data'),
  });
  const at = (field: string): number => fields[field] ?? -1;
  expect(bytes.length).toBe(size + 2 + 4 + 4);
  expect(bytes.readUInt32LE(at('length'))).toBe(bytes.length);
  expect(['tag', 'slot', 'handle', 'flags', 'mode', 'uid', 'gid'].map((name) => bytes.readUInt32LE(at(name)))).toEqual([
    7, 3, 4, 5, 6, 8, 9,
  ]);
  expect(['op', 'mount', 'name', 'other'].map((name) => bytes.readUInt16LE(at(name)))).toEqual([33, 2, 2, 4]);
  expect(['offset', 'size', 'value'].map((name) => bytes.readBigInt64LE(at(name)))).toEqual([2n ** 40n + 1n, 11n, -1n]);
  expect(bytes.subarray(size).toString()).toBe('/a/bcddata');
});

it('knows where the mailbox’s parts are', () => {
  const { size, fields } = fieldsOf('nodefs_mailbox');
  expect(size).toBe(protocol.MAILBOX.request + protocol.MAILBOX_REQUEST_MAX);
  expect(fields).toMatchObject(protocol.MAILBOX);
  expect(protocol.MAILBOX.reply + protocol.MAILBOX_REPLY_MAX).toBe(protocol.MAILBOX.request);
});

it('refuses a disk’s request whose segments are impossible', () => {
  const { size, fields } = fieldsOf('nodefs_disk_request');
  const request = (bytes: number, segments: readonly (readonly [number, number])[]): Buffer => {
    const message = Buffer.alloc(size + segments.length * 16);
    message.writeUInt8(segments.length, fields['segments'] ?? -1);
    message.writeBigUInt64LE(BigInt(bytes), fields['size'] ?? -1);
    for (const [index, [offset, length]] of segments.entries()) {
      message.writeBigUInt64LE(BigInt(offset), size + index * 16);
      message.writeBigUInt64LE(BigInt(length), size + index * 16 + 8);
    }
    return message;
  };
  const memory = 64 << 20;
  const two = [[4096, 4096] as const, [8192, 512] as const];
  expect(protocol.decodeDiskRequest(request(4608, two), memory).segments).toHaveLength(2);
  for (const [bytes, segments] of [
    [4096, two], // fewer than the segments
    [2 ** 40, [[0, 2 ** 40] as const]],
    [4096, [[memory - 512, 4096] as const]],
  ] as const)
    expect(() => protocol.decodeDiskRequest(request(bytes, segments), memory)).toThrow(/asked a disk/);
  expect(() => protocol.decodeDiskRequest(request(4608, two).subarray(0, size + 8), memory)).toThrow(RangeError);
});

it('reads the fields of a stat where the kernel writes them', () => {
  const { size, fields } = fieldsOf('nodefs_stat');
  expect(protocol.STAT_SIZE).toBe(size);
  const bytes = Buffer.alloc(size);
  const at = (field: string): number => fields[field] ?? -1;
  bytes.writeUInt32LE(0o100644, at('mode'));
  bytes.writeBigUInt64LE(2n ** 60n, at('inode'));
  bytes.writeUInt32LE(9, at('special') + 4);
  bytes.writeUInt32LE(1, at('has_birth'));
  bytes.writeBigInt64LE(-5n, at('seconds') + 24);
  bytes.writeUInt32LE(12, at('nanoseconds') + 12);
  expect(protocol.decodeStat(bytes)).toMatchObject({
    mode: 0o100644,
    inode: 2n ** 60n,
    special: [0, 9],
    birth: { seconds: -5n, nanoseconds: 12 },
  });
});

it('cuts a stream into messages wherever it is cut, and refuses impossible lengths', () => {
  const message = (length: number): Buffer => {
    const bytes = Buffer.alloc(length, length);
    bytes.writeUInt32LE(length, 0);
    return bytes;
  };
  const stream = Buffer.concat([message(8), message(100), message(24)]);
  for (let cut = 0; cut <= stream.length; cut++) {
    const messages = new protocol.Messages();
    const lengths: number[] = [];
    for (const part of [stream.subarray(0, cut), stream.subarray(cut)])
      messages.feed(part, (one) => lengths.push(one.length));
    expect(lengths).toEqual([8, 100, 24]);
  }
  for (const length of [0, 7, protocol.MESSAGE_MAX + 1]) {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(length, 0);
    expect(() => new protocol.Messages().feed(bytes, () => undefined)).toThrow(/message of/);
  }
});
