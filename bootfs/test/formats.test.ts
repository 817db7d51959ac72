/** The table of formats, and formats of small disks, judged by the tools that others read them with. */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFile, copyFile, mkdir, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { file as openFile, memory, xz, zstd, type BlockBackend } from '@nodeos/block';
import { artifact, build, Cache, type Artifact, type Step } from '@nodeos/engine';
import { DEFAULT_TARGET, targetOf } from '@nodeos/targets';
import { afterAll, describe, expect, it } from 'vitest';
import { blockMap } from '../formats/bmap.js';
import { compressed, COMPRESSIONS } from '../formats/compress.js';
import { CONVERTED } from '../formats/convert.js';
import type { Format, FormatParts } from '../formats/format.js';
import { checksumOf, setVhdIdentity } from '../formats/vhd.js';
import { setVmdkIdentity } from '../formats/vmdk.js';
import { formatOf, FORMATS } from '../index.js';

const run = promisify(execFile);
const target = targetOf(DEFAULT_TARGET);
const root = await mkdtemp(join(tmpdir(), 'nodeos-formats-'));
afterAll(() => rm(root, { recursive: true, force: true }));
let count = 0;
async function folder(): Promise<string> {
  const dir = join(root, String(count++));
  await mkdir(dir);
  return dir;
}

const MIB = 1 << 20;
const SIZE = 9 * MIB;

/** Bytes that do not compress to nothing and are the same each time. */
const noise = (length: number): Buffer => {
  const parts: Buffer[] = [];
  for (let at = 0; at < length; at += 32) parts.push(createHash('sha256').update(String(at)).digest());
  return Buffer.concat(parts).subarray(0, length);
};

/** A disk of 9 MiB: data, zeros that are stored, data, a hole. @param isSparse whether zeros are holes */
async function writeDisk(path: string, isSparse = true): Promise<void> {
  await writeFile(path, noise(MIB + 5000));
  if (!isSparse) await appendFile(path, Buffer.alloc(SIZE - MIB - 5000));
  await truncate(path, SIZE);
  const handle = await open(path, 'r+');
  await handle.write(noise(300_000), 0, 300_000, 4 * MIB + 4096);
  await handle.close();
}

interface Made {
  readonly disk: string;
  readonly path: string;
  /** The folder with it. */
  readonly output: string;
}

/** Builds a format of that disk in an empty cache. */
async function make(describeStep: (disk: Artifact) => Step, file: string, isSparse = true, jobs = 2): Promise<Made> {
  const step: Step = {
    name: 'disk',
    target,
    recipe: import.meta.url,
    parameters: { isSparse },
    build: ({ dir }) => writeDisk(join(dir, 'nodeos.img'), isSparse),
  };
  const disk = artifact(step, 'image', 'nodeos.img');
  const made = describeStep(disk);
  const progress = { event: () => undefined, close: () => Promise.resolve() };
  const result = await build([step, made], { cache: new Cache(await folder()), progress, jobs });
  const output = result.path(artifact(made, 'folder'));
  return { disk: result.path(disk), path: join(output, file), output };
}

const rowOf = (name: string): Format => {
  const row = FORMATS.find((format) => format.name === name);
  if (!row) throw new Error(`no format ${name}`);
  return row;
};

const converted = (format: Format) => (disk: Artifact) =>
  format.build({ loaders: { target } } as FormatParts, () => disk);

async function contents(backend: BlockBackend): Promise<Buffer> {
  const bytes = Buffer.alloc(backend.size);
  await backend.read(bytes, 0);
  await backend.close();
  return bytes;
}

describe('the table', () => {
  it('has names once, and files', () => {
    const names = FORMATS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(expect.arrayContaining(['disk', 'iso', 'usb', 'qcow2', 'vmdk', 'vhd', 'tar', 'oci', 'pxe']));
    for (const { name, files, isFolder } of FORMATS) {
      expect(name).toMatch(/^[a-z0-9]+$/);
      expect(files.length > 1).toBe(isFolder === true);
    }
  });

  it('finds compressed ones', () => {
    expect(formatOf('disk.zst')).toMatchObject({ format: { name: 'disk' }, compression: { ending: 'zst' } });
    expect(formatOf('iso').compression).toBeUndefined();
  });

  it.each([
    ['floppy', 'unknown format "floppy"'],
    ['disk.rar', 'unknown format "disk.rar"'],
    ['disk.zst.xz', 'unknown format "disk.zst.xz"'],
    ['', 'unknown format ""'],
    ['constructor', 'unknown format "constructor"'],
    ['pxe.zst', 'pxe is a folder of files'],
  ])('refuses %j', (name, message) => {
    expect(() => formatOf(name)).toThrow(message);
  });
});

describe.each(CONVERTED.map((format) => [format.name, format] as const))('%s', (name, format) => {
  const driver = format.image ?? '';

  it('has what the disk has, by qemu-img, and is the same from a disk without holes', async () => {
    const first = await make(converted(format), `nodeos.${name}`);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', driver, first.disk, first.path]);
    // vpc has no check.
    if (driver !== 'vpc') await run('qemu-img', ['check', '-f', driver, first.path]);
    await new Promise((resolve) => setTimeout(resolve, 1100)); // the time in a VHD is in seconds
    const second = await make(converted(format), `nodeos.${name}`, false, 1);
    await run('cmp', [first.path, second.path]);
  });
});

describe('ids of images', () => {
  const plain = async (driver: string, options: string): Promise<string> => {
    const dir = await folder();
    await writeDisk(join(dir, 'raw'));
    await run('qemu-img', ['convert', '-f', 'raw', '-O', driver, '-o', options, join(dir, 'raw'), join(dir, 'image')]);
    return join(dir, 'image');
  };
  const digest = createHash('sha256').update('some contents').digest();

  it('a VHD has the checksum that qemu-img made, before and after', async () => {
    const path = await plain('vpc', 'subformat=fixed,force_size=on');
    const footer = async (): Promise<Buffer> => (await readFile(path)).subarray(-512);
    const before = await footer();
    expect(checksumOf(before)).toBe(before.readUInt32BE(64));
    await setVhdIdentity(path, digest);
    const after = await footer();
    expect(after.subarray(68, 84)).toEqual(digest.subarray(0, 16));
    expect(after.readUInt32BE(24)).toBe(0);
    expect(checksumOf(after)).toBe(after.readUInt32BE(64));
    const isKept = (_: number, at: number): boolean => at < 24 || (at >= 28 && at < 64) || at >= 84;
    expect(after.filter(isKept)).toEqual(before.filter(isKept));
    // qemu refuses a footer with a wrong checksum only by a warning, so ask what it reads.
    const { stdout, stderr } = await run('qemu-img', ['info', '-f', 'vpc', path]);
    expect(stdout).toContain(`(${SIZE} bytes)`);
    expect(stderr).toBe('');
  });

  it('a VMDK gets a content id, and only that changes', async () => {
    const path = await plain('vmdk', 'subformat=monolithicSparse');
    const before = await readFile(path);
    await setVmdkIdentity(path, digest);
    const after = await readFile(path);
    expect(after.length).toBe(before.length);
    const textOf = (bytes: Buffer): string => bytes.toString('latin1', 512, 2048).replace(/\0+$/, '');
    expect(textOf(after)).toContain(`CID=${digest.toString('hex', 0, 4)}\nparentCID=ffffffff`);
    expect(textOf(after).replace(/^CID=.*$/m, '')).toBe(textOf(before).replace(/^CID=.*$/m, ''));
    expect(after.subarray(2048).equals(before.subarray(2048))).toBe(true);
    await run('qemu-img', ['check', '-f', 'vmdk', path]);
  });

  it('nothing is left of a longer text that qemu-img has replaced', async () => {
    const path = await plain('vmdk', 'subformat=monolithicSparse');
    const other = `${path}.other`;
    const bytes = await readFile(path);
    const end = bytes.indexOf(0, 512);
    bytes.write('\n', end + 1, 'latin1'); // as after a CID of 7 digits in place of one of 8
    await writeFile(other, bytes);
    await setVmdkIdentity(path, digest);
    await setVmdkIdentity(other, digest);
    await run('cmp', [path, other]);
  });

  it('a reserved content id is not used', async () => {
    const path = await plain('vmdk', 'subformat=monolithicSparse');
    await setVmdkIdentity(path, Buffer.alloc(32, 0xff));
    expect(await readFile(path, 'latin1')).toContain('CID=00000000\n');
  });

  it('other files are refused, and unchanged', async () => {
    const path = join(await folder(), 'file');
    for (const size of [0, 100, 4096]) {
      await writeFile(path, noise(size));
      await expect(setVhdIdentity(path, digest)).rejects.toThrow('is no VHD');
      await expect(setVmdkIdentity(path, digest)).rejects.toThrow('is no VMDK');
      expect(await readFile(path)).toEqual(noise(size));
    }
  });
});

describe.each(COMPRESSIONS.map((row) => [row.ending, row] as const))('.%s', (ending, compression) => {
  const describeStep = (disk: Artifact): Step => compressed(rowOf('disk'), compression, disk);
  const name = `nodeos.img.${ending}`;

  it('is unpacked by its tool and by our reader, in parts, and is the same with other jobs', async () => {
    const { path, disk, output } = await make(describeStep, name);
    const raw = await readFile(disk);
    await run(compression.tool, ['-t', path]);
    await run('sh', ['-c', `${compression.tool} -dc "$0" | cmp - "$1"`, path, disk]);
    const reader = ending === 'zst' ? zstd : xz;
    // No part is larger than 16 MiB.
    const opened = await reader(await openFile(path, { readOnly: true }), { largest: 16 * MIB });
    expect((await contents(opened)).equals(raw)).toBe(true);
    const again = await make(describeStep, name, false, 5);
    await run('cmp', [path, again.path]);
    await run('cmp', [join(output, 'nodeos.img.bmap'), join(again.output, 'nodeos.img.bmap')]);
  });

  it('a file of others than disks has no map', async () => {
    const { output } = await make((disk) => compressed(rowOf('tar'), compression, disk), `root.tar.${ending}`);
    await stat(join(output, `root.tar.${ending}`));
    await expect(stat(join(output, 'root.tar.bmap'))).rejects.toThrow('ENOENT');
  });
});

const hasBmaptool = spawnSync('bmaptool', ['--version']).status === 0;

describe.skipIf(!hasBmaptool)('block maps, by bmaptool', () => {
  const zst = COMPRESSIONS.find(({ ending }) => ending === 'zst');
  if (!zst) throw new Error('no zst');
  const describeStep = (disk: Artifact): Step => compressed(rowOf('disk'), zst, disk);

  it('bmaptool makes a used stick the same as the disk', async () => {
    const { path, disk } = await make(describeStep, 'nodeos.img.zst');
    const stick = join(await folder(), 'stick');
    await writeFile(stick, Buffer.alloc(SIZE, 0xff));
    const { stderr } = await run('bmaptool', ['copy', path, stick]);
    expect(stderr).toContain('discovered bmap file');
    await run('cmp', [disk, stick]);
  });

  it('bmaptool notices another image, and another map', async () => {
    const { disk, output } = await make(describeStep, 'nodeos.img.zst');
    const dir = await folder();
    const [image, map] = [join(dir, 'image'), join(dir, 'map')];
    const copy = (): Promise<unknown> => run('bmaptool', ['copy', '--bmap', map, image, join(dir, 'stick')]);
    await copyFile(disk, image);
    await copyFile(join(output, 'nodeos.img.bmap'), map);
    await copy();
    const handle = await open(image, 'r+');
    await handle.write(Buffer.from('x'), 0, 1, 5 * MIB);
    await handle.close();
    await expect(copy()).rejects.toThrow('checksum mismatch');
    await copyFile(disk, image);
    await writeFile(map, (await readFile(map, 'latin1')).replace(/chksum="./, 'chksum="x'));
    await expect(copy()).rejects.toThrow('checksum mismatch for bmap file');
  });

  it('an image that ends within a block', async () => {
    const dir = await folder();
    const bytes = noise(10_000);
    await writeFile(join(dir, 'image'), bytes);
    const device = memory(bytes.length);
    await device.write?.(bytes, 0);
    await writeFile(join(dir, 'map'), await blockMap(device));
    await run('bmaptool', ['copy', '--bmap', join(dir, 'map'), join(dir, 'image'), join(dir, 'stick')]);
    expect((await readFile(join(dir, 'stick'))).equals(bytes)).toBe(true);
  });
});
