/** `nodeos nbd` with nested sources: partitions, archives, images. Compared with nbdkit and qemu-img. */
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { gptOf, tarOf, zstdOf } from '../../packages/block/test/formats.js';
import { disk, folder, MIB, nbd, serve, sum, tool, webServer, runNbd } from './nbd-command.js';

let count = 0;
const path = (name: string): string => join(folder, `format-${count++}-${name}`);

async function qcow2Of(raw: string): Promise<string> {
  const image = path('disk.qcow2');
  await tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-c', raw, image);
  return image;
}

describe('a nested source', () => {
  it('is served and copied: qcow2 in a tar archive on a web server', async () => {
    const raw = await disk(folder);
    const image = await qcow2Of(raw);
    const archive = path('box.ova');
    await writeFile(archive, tarOf([image]));
    const source = `qcow2:tar:${image.split('/').at(-1)}:${await webServer(archive)}`;
    const { uri } = await serve(source);
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', uri, image)).toContain('identical');
    expect(JSON.parse(await tool('nbdinfo', '--json', uri))).toMatchObject({ exports: [{ is_read_only: true }] });
    const copy = path('copy');
    await runNbd('copy', source, copy, '--verify');
    expect(await sum(copy)).toBe(await sum(raw));
    expect(await runNbd('map', `qcow2:${image}`, '--totals')).toMatch(/hole,zero/);
  });

  it('is served from an appliance: the first partition of a VMDK in an OVA', async () => {
    const [raw, whole, image] = [await disk(folder), path('gpt'), path('disk.vmdk')];
    await writeFile(whole, gptOf(await readFile(raw), 512));
    await tool('qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', whole, image);
    const archive = path('box.ova');
    await writeFile(archive, tarOf([image]));
    const { uri } = await serve(`partition:1:vmdk:tar:${image.split('/').at(-1)}:${archive}`);
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', uri, raw)).toContain('identical');
  });

  it('is written in place: a partition', async () => {
    const [raw, whole] = [await disk(folder), path('gpt')];
    await writeFile(whole, gptOf(new Uint8Array(12 * MIB), 512, 'root'));
    await runNbd('copy', raw, `partition:1:${whole}`);
    const judged = path('judged');
    execFileSync('nbdkit', ['-U', '-', '--filter=partition', 'file', whole, 'partition=1', '--run', `nbdcopy "$uri" ${judged}`]); // prettier-ignore
    expect((await readFile(judged)).subarray(0, 10 * MIB + 512).equals(await readFile(raw))).toBe(true);
    expect(await tool('sfdisk', '--json', whole)).toMatch(/"start": 34,\s+"size": 24576,[^}]*"name": "root"/);
    const server = await serve(`partition:1:${whole}`);
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', server.uri, judged)).toContain('identical');
  });

  it('is unpacked on demand: xz and zstd', async () => {
    const raw = await disk(folder);
    execFileSync('xz', ['--keep', '-0', '--block-size=1MiB', raw]);
    const seekable = path('disk.zst');
    await writeFile(seekable, zstdOf(await readFile(raw), MIB, path));
    for (const source of [`xz:${raw}.xz`, `zstd:${seekable}`]) {
      const { uri } = await serve(source);
      expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', uri, raw)).toContain('identical');
    }
  });

  it.each([
    ['partition:7:DISK', 'there is no partition 7: there are 1 ('],
    ['tar:none:DISK', 'this is no tar archive'],
    ['qcow2:DISK', 'this is no qcow2 image'],
    ['partition:1:memory:1M', 'the disk has no partition table'],
  ])('%s fails with an explanation', async (text, words) => {
    const whole = path('gpt');
    await writeFile(whole, gptOf(new Uint8Array(MIB), 512));
    const source = text.replace('DISK', whole);
    const { status, stderr } = await nbd('info', source);
    expect([status, stderr]).toEqual([1, expect.stringContaining(`cannot open ${source}: `)]);
    expect(stderr).toContain(words);
  });

  it.each([
    [['serve', 'partition:x:disk'], 'partition:x:disk: expected a number'],
    [['copy', 'memory:1M', 'qcow2:disk'], 'qcow2:disk: cannot be written'],
    [['info', ''], 'partition:N:SOURCE, tar:MEMBER:SOURCE, qcow2:SOURCE, vmdk:SOURCE, xz:SOURCE, zstd:SOURCE'],
  ])('%j give status 2', async (args, words) => {
    const { status, stderr } = await nbd(...args);
    expect([status, stderr]).toEqual([2, expect.stringContaining(words)]);
  });

  it('is not overwritten by a trace', async () => {
    const image = await qcow2Of(await disk(folder));
    const { status, stderr } = await nbd('serve', `qcow2:${image}`, '--trace', image, '--', 'true');
    expect([status, stderr]).toEqual([2, expect.stringContaining('which would be overwritten')]);
  });
});
