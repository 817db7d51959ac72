/** Images of VMware, made and judged by qemu-img, and corrupt images. */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { vmdk, writeImage } from '../index.js';
import { device, expectRobust, tool } from './formats.js';
import { bounded, errorOf, noise, readAll, scratch } from './helpers.js';

const path = scratch();
const MIB = 1 << 20;
const content = Buffer.alloc(5 * MIB + 512);
content.set(noise(300_000, 1), 0);
content.set(Buffer.from('text that can be compressed '.repeat(40_000)), 3 * MIB - 5000);
content.set(noise(512, 3), content.length - 512);
const raw = path('raw');
writeFileSync(raw, content);

function vmdkOf(kind: string, ...options: string[]): [name: string, bytes: Buffer] {
  const name = path(`${kind}.vmdk`);
  tool('qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', `subformat=${kind}`, ...options, raw, name);
  return [name, readFileSync(name)];
}

describe.each(['monolithicSparse', 'streamOptimized'])('a VMDK image of the type %s', (kind) => {
  it('gives the bytes that qemu-img reads from it', async () => {
    const [name, bytes] = vmdkOf(kind);
    const opened = await vmdk(device(bytes));
    expect(
      Buffer.from(await readAll(opened))
        .subarray(0, content.length)
        .equals(content),
    ).toBe(true);
    const written = path('written');
    await writeImage(opened, written);
    expect(tool('qemu-img', 'compare', '-f', 'raw', '-F', 'vmdk', written, name)).toContain('identical');
    const zeros = ((await opened.extents?.(0, opened.size)) ?? []).filter(({ zero }) => zero);
    expect(zeros.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(3 * MIB);
  });

  it('is read in any range from a device that only takes whole blocks', async () => {
    const [, bytes] = vmdkOf(kind);
    const opened = await vmdk(bounded(device(Buffer.concat([bytes, Buffer.alloc(-bytes.length & 511)])), 512, 65536));
    for (const [at, length] of [
      [0, 1],
      [65535, 2],
      [290_000, 50_000],
      [3 * MIB - 5001, 300_000],
    ] as const) {
      // prettier-ignore
      const into = new Uint8Array(length);
      await opened.read(into, at);
      expect(Buffer.from(into).equals(content.subarray(at, at + length))).toBe(true);
    }
  });

  it('opens or is refused however it is corrupted', async () => {
    const [, bytes] = vmdkOf(kind);
    await expectRobust(bytes, vmdk, { near: [0, 512, bytes.length - 1024], runs: 100 });
  });
});

describe('vmdk follows no name in the image, and refuses', () => {
  it.each(['monolithicFlat', 'twoGbMaxExtentSparse'])('a descriptor of the type %s', async (kind) => {
    const [, bytes] = vmdkOf(kind);
    await expect(vmdk(device(bytes))).rejects.toMatchObject({ code: 'EINVAL', message: /no VMDK image, or one that names other files/ }); // prettier-ignore
  });

  it('one of several files', async () => {
    const [name] = vmdkOf('twoGbMaxExtentSparse');
    const error = await errorOf(() => vmdk(device(readFileSync(name.replace('.vmdk', '-s001.vmdk')))));
    expect(error).toMatchObject({ code: 'ENOTSUP', message: expect.stringContaining('one of several files') });
  });

  it('a layer over another image', async () => {
    const [base] = vmdkOf('monolithicSparse');
    const layer = path('layer.vmdk');
    tool('qemu-img', 'create', '-q', '-f', 'vmdk', '-b', base, '-F', 'vmdk', layer);
    expect(await errorOf(() => vmdk(device(readFileSync(layer))))).toMatchObject({
      code: 'ENOTSUP',
      message: expect.stringContaining('a layer over another image'),
    });
  });

  it.each([0, 511, 4096])('%i bytes that are not VMDK', async (size) => {
    await expect(vmdk(device(noise(size, 1)))).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

it('reports a damaged grain as an error instead of returning wrong bytes', async () => {
  const [, bytes] = vmdkOf('streamOptimized');
  const opened = await vmdk(device(bytes.fill(0xff, 70_000, 200_000)));
  expect(await errorOf(() => opened.read(new Uint8Array(200_000), 0))).toMatchObject({ code: expect.stringMatching(/^(EIO|EINVAL)$/) }); // prettier-ignore
});
