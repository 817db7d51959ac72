/** Images of QEMU, made and judged by qemu-img, and corrupt images. */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { qcow2, writeImage } from '../index.js';
import { device, fileDevice, qcow2Of, expectRobust, tool } from './formats.js';
import { bounded, errorOf, noise, readAll, scratch } from './helpers.js';

const path = scratch();
const MIB = 1 << 20;
const content = Buffer.alloc(5 * MIB + 512);
content.set(noise(300_000, 1), 0);
content.set(noise(MIB, 2), 3 * MIB - 5000);
content.set(noise(512, 3), content.length - 512);
const raw = path('raw');
writeFileSync(raw, content);

const KINDS: [string, string[]][] = [
  ['as it is by default', []],
  ['of version 2', ['-o', 'compat=0.10']],
  ['with small clusters', ['-o', 'cluster_size=512']],
  ['with large clusters', ['-o', 'cluster_size=2M']],
  ['compressed', ['-c']],
  ['compressed, in small clusters', ['-c', '-o', 'cluster_size=4k']],
  ['compressed by zstd', ['-c', '-o', 'compression_type=zstd']],
  ['with room for everything', ['-o', 'preallocation=metadata']],
];

describe.each(KINDS)('a qcow2 image %s', (_kind, options) => {
  it('gives the bytes that qemu-img reads from it', async () => {
    const image = path('image');
    const opened = await qcow2(device(qcow2Of(raw, image, ...options)));
    expect(opened.size).toBe(content.length);
    expect(Buffer.from(await readAll(opened)).equals(content)).toBe(true);
    const written = path('written');
    await writeImage(opened, written);
    expect(tool('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', written, image)).toContain('identical');
    const extents = (await opened.extents?.(0, opened.size)) ?? [];
    const map = JSON.parse(tool('qemu-img', 'map', '--output=json', image)) as {
      start: number;
      length: number;
      zero: boolean;
    }[];
    const zeros = (all: readonly { zero: boolean; length: number }[]): number => all.reduce((sum, { zero, length }) => sum + (zero ? length : 0), 0); // prettier-ignore
    // In a preallocated image, QEMU looks for holes in the file itself.
    if (!options.includes('preallocation=metadata')) expect(zeros(extents)).toBe(zeros(map));
  });
});

it('reads any range from a device that only takes whole blocks', async () => {
  const bytes = qcow2Of(raw, path('image'), '-c', '-o', 'cluster_size=8k');
  const opened = await qcow2(bounded(device(Buffer.concat([bytes, Buffer.alloc(-bytes.length & 4095)])), 4096, 65536));
  for (const [at, length] of [
    [0, 1],
    [8191, 2],
    [290_000, 50_000],
    [3 * MIB - 5001, 3],
    [content.length - 600, 600],
  ] as const) {
    // prettier-ignore
    const into = new Uint8Array(length);
    await opened.read(into, at);
    expect(Buffer.from(into).equals(content.subarray(at, at + length))).toBe(true);
  }
});

it('reads clusters that QEMU zeroed or wrote out of order', async () => {
  const image = path('image');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', image, '8M');
  const commands = ['write -P 1 5M 1M', 'write -P 2 0 1M', 'write -z 512k 1M', 'write -P 3 7M 64k', 'write -z 7M 64k'];
  tool('qemu-io', ...commands.flatMap((command) => ['-c', command]), image);
  const to = path('raw');
  tool('qemu-img', 'convert', '-O', 'raw', image, to);
  const opened = await qcow2(fileDevice(image));
  expect(Buffer.from(await readAll(opened)).equals(readFileSync(to))).toBe(true);
});

describe('a backing file', () => {
  const layered = (): string => {
    const image = path('layer');
    tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', raw, '-F', 'raw', image, '6M');
    tool('qemu-io', '-c', 'write -P 9 1M 64k', image);
    return image;
  };

  it('is never opened by its name, which may be that of any file', async () => {
    const error = await errorOf(() => qcow2(fileDevice(layered())));
    expect(error).toMatchObject({ code: 'EINVAL', message: expect.stringContaining(JSON.stringify(raw)) });
  });

  it('can be given as a device', async () => {
    const image = layered();
    const to = path('raw');
    tool('qemu-img', 'convert', '-O', 'raw', image, to);
    const opened = await qcow2(fileDevice(image), { backing: device(content) });
    expect(Buffer.from(await readAll(opened)).equals(readFileSync(to))).toBe(true);
    const extents = await opened.extents?.(0, opened.size);
    expect(extents?.reduce((sum, { length }) => sum + length, 0)).toBe(6 * MIB);
  });
});

describe('qcow2 refuses', () => {
  it.each([
    ['one with its data in another file', ['-o', 'data_file=DATA'], /another file/],
    ['one with subclusters', ['-o', 'extended_l2=on'], /subclusters/],
  ])('%s', async (_what, options, words) => {
    const image = path('image');
    tool(
      'qemu-img',
      'create',
      '-q',
      '-f',
      'qcow2',
      ...options.map((one) => one.replace('DATA', path('data'))),
      image,
      '1M',
    );
    expect(await errorOf(() => qcow2(fileDevice(image)))).toMatchObject({
      code: 'ENOTSUP',
      message: expect.stringMatching(words),
    });
  });

  it('an encrypted image', async () => {
    const bytes = qcow2Of(raw, path('image'));
    bytes.writeUInt32BE(2, 32); // LUKS, which takes seconds to make
    await expect(qcow2(device(bytes))).rejects.toMatchObject({ code: 'ENOTSUP', message: 'qcow2: it is encrypted' });
  });

  it('an image that is marked as damaged', async () => {
    const bytes = qcow2Of(raw, path('image'));
    bytes[79] = (bytes[79] ?? 0) | 2;
    await expect(qcow2(device(bytes))).rejects.toMatchObject({ code: 'ENOTSUP', message: /marked as damaged/ });
  });

  it.each([0, 71, 4096])('%i bytes that are not qcow2', async (size) => {
    await expect(qcow2(device(noise(size, 1)))).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

it('reports an error if the tables of an image point outside it, or at each other', async () => {
  const bytes = qcow2Of(raw, path('image'));
  const l1 = Number(bytes.readBigUInt64BE(40));
  for (const at of [1n << 50n, 12345n << 9n, BigInt(bytes.length)]) {
    const spoilt = Buffer.from(bytes);
    spoilt.writeBigUInt64BE((1n << 63n) | at, l1);
    const opened = await qcow2(device(spoilt));
    expect(await errorOf(() => opened.read(new Uint8Array(512), 0))).toMatchObject({ code: 'EINVAL' });
  }
});

it('reports a damaged compressed cluster as an error instead of returning wrong bytes', async () => {
  const text = path('text');
  writeFileSync(text, 'that can be compressed '.repeat(10_000).padEnd(262144));
  for (const type of ['zlib', 'zstd']) {
    const bytes = qcow2Of(text, path('image'), '-c', '-o', `compression_type=${type}`);
    const l2 = Number(bytes.readBigUInt64BE(Number(bytes.readBigUInt64BE(40))) & 0xff_ffff_ffff_fe00n);
    const at = Number(bytes.readBigUInt64BE(l2) & ((1n << 54n) - 1n));
    bytes.fill(0xff, at, at + 16);
    const opened = await qcow2(device(bytes));
    expect(await errorOf(() => opened.read(new Uint8Array(512), 0))).toMatchObject({ code: expect.stringMatching(/^(EIO|EINVAL)$/) }); // prettier-ignore
  }
});

it('opens or refuses every corrupted image', async () => {
  for (const options of [[], ['-c'], ['-c', '-o', 'compression_type=zstd']]) {
    const bytes = qcow2Of(raw, path('image'), '-o', 'cluster_size=4k', ...options);
    const l1 = Number(bytes.readBigUInt64BE(40));
    const l2 = Number(bytes.readBigUInt64BE(l1) & 0xff_ffff_ffff_fe00n);
    await expectRobust(bytes, (inner) => qcow2(inner), { near: [0, l1, l2], runs: 100 });
  }
});
