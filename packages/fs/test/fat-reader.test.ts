/** The reader of FAT volumes: volumes made by mkfs.fat and mcopy, and volumes that are wrong. */
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { directory, file, type Entry } from '@nodeos/tree';
import { file as openFile } from '@nodeos/block';
import { afterAll, describe, expect, it } from 'vitest';
import { fat, readFat } from '../index.js';
import { bytesOf, contentOf, device, deviceOf, filesBelow, lacking, lackingNote, read, tool } from './fat-tools.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-fat-reader-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const MIB = 1 << 20;
const SLOT = 32;

async function entriesOf(bytes: Buffer): Promise<Entry[]> {
  const all: Entry[] = [];
  for await (const entry of (await readFat(deviceOf(bytes))).entries()) all.push(entry);
  return all;
}

describe.skipIf(lacking.length > 0)(`volumes of mkfs.fat and mcopy${lackingNote}`, () => {
  const folder = join(root, 'source');
  mkdirSync(join(folder, 'EFI/BOOT'), { recursive: true });
  mkdirSync(join(folder, 'many'));
  writeFileSync(join(folder, 'EFI/BOOT/BOOTX64.EFI'), Buffer.alloc(300_000, 'code'));
  writeFileSync(join(folder, 'lower.txt'), 'lower');
  writeFileSync(join(folder, 'UPPER.TXT'), 'upper');
  writeFileSync(join(folder, 'a long name with ümläuts – and 日本.conf'), 'long');
  for (let index = 0; index < 200; index++) writeFileSync(join(folder, `many/file number ${index}`), `${index}`);
  utimesSync(join(folder, 'lower.txt'), 1_600_000_000, 1_600_000_000);

  it.each([
    ['12', 1440, []],
    ['12', 8000, ['-s', '8', '-f', '1']],
    ['16', 20_000, ['-s', '4']],
    ['16', 40_000, ['-S', '2048', '-R', '4']],
    ['32', 40_000, ['-s', '1']],
    ['32', 300_000, ['-S', '4096']],
  ])('are read: FAT%s of %s KiB with %j', async (bits, size, options) => {
    const path = join(root, `${bits}-${size}.img`);
    tool('mkfs.fat', '-C', '-F', bits, '-n', 'MY LABEL', ...options, path, `${size}`);
    tool('mcopy', '-s', '-m', '-i', path, ...['EFI', 'many', 'lower.txt', 'UPPER.TXT'].map((name) => join(folder, name)), '::/'); // prettier-ignore
    tool('mcopy', '-i', path, join(folder, 'a long name with ümläuts – and 日本.conf'), '::/');
    const disk = await openFile(path);
    const reader = await readFat(disk);
    expect(reader.format).toBe(`fat${bits}`);
    expect(reader.label).toBe('MY LABEL');
    expect(await read(disk)).toEqual(filesBelow(folder));
    for await (const entry of reader.entries()) if (entry.path === 'lower.txt') expect(entry.mtime).toBe(1_600_000_000);
    await disk.close();
    rmSync(path);
  });

  it('may lack deleted files, and be in pieces', async () => {
    const path = join(root, 'pieces.img');
    tool('mkfs.fat', '-C', '-F', '16', '-s', '1', path, '8000');
    const put = (name: string, content: string | Buffer): void => {
      writeFileSync(join(root, 'put'), content);
      tool('mcopy', '-i', path, join(root, 'put'), `::/${name}`);
    };
    for (let index = 0; index < 20; index++) put(`a long name ${index}`, Buffer.alloc(4096, index));
    for (let index = 0; index < 20; index += 2) tool('mdel', '-i', path, `::/a long name ${index}`);
    const content = Buffer.from(Uint8Array.from({ length: 3 * MIB }, (_, index) => index % 251));
    put('pieces', content);
    const disk = await openFile(path);
    const found = await read(disk);
    expect(Object.keys(found)).toHaveLength(11);
    expect(found['pieces']).toBe(content.toString('latin1'));
    await disk.close();
  });
});

/** A volume of FAT16 with clusters of 512 bytes, and where its parts are. */
async function volume(entries: readonly Entry[]) {
  const options = { size: 4 * MIB, bits: 16, clusterSize: 512 } as const;
  const bytes = await bytesOf(entries, options);
  const { places } = await fat(entries, options);
  const fatAt = bytes.readUInt16LE(14) * 512;
  const rootAt = fatAt + 2 * bytes.readUInt16LE(22) * 512;
  const dataAt = rootAt + bytes.readUInt16LE(17) * SLOT;
  const clusterOf = (path: string): number => ((places.get(path)?.offset ?? 0) - dataAt) / 512 + 2;
  const link = (cluster: number, to: number): void => void bytes.writeUInt16LE(to, fatAt + cluster * 2);
  /** The slot of a short name in the root folder. */
  const slot = (name: string): number => bytes.indexOf(name.padEnd(11), rootAt);
  return { bytes, rootAt, dataAt, clusterOf, link, slot };
}
const END = 0xffff;
const refusal = (message: string) => ({ code: 'EINVAL', message: expect.stringContaining(message) as string });

describe('the reader', () => {
  it('reads contents in pieces of at most 1 MiB, when they are opened', async () => {
    const content = Buffer.from(Uint8Array.from({ length: 3 * MIB + 5 }, (_, index) => index % 253));
    const disk = await device([file('a', content)], { size: 8 * MIB });
    const lengths: number[] = [];
    let largest = 0;
    const counted = {
      ...disk,
      read: (into: Uint8Array, at: number) => {
        largest = Math.max(largest, into.length);
        return disk.read(into, at);
      },
    };
    for await (const entry of (await readFat(counted)).entries()) {
      expect(largest).toBeLessThan(MIB);
      for await (const bytes of entry.open?.() ?? []) lengths.push(bytes.length);
      expect(await contentOf(entry)).toBe(content.toString('latin1'));
    }
    expect(lengths).toEqual([MIB, MIB, MIB, 5]);
  });

  it('keeps names of every script, and times', async () => {
    const names = ['😀 pair', 'x'.repeat(255), 'ü'.repeat(26), 'lower', 'UPPER.TXT'];
    const disk = await device(names.map((name) => ({ ...file(name, name), mtime: 4_354_819_199 })), { size: MIB }); // prettier-ignore
    const found = new Map<string, number>();
    for await (const { path, mtime } of (await readFat(disk)).entries()) found.set(path, mtime);
    expect(found).toEqual(new Map([...names].sort().map((name) => [name, 4_354_819_198])));
  });

  it('has the label of the root folder, or of the boot sector', async () => {
    const labelOf = async (bytes: Buffer): Promise<string> => (await readFat(deviceOf(bytes))).label;
    const bytes = await bytesOf([], { size: MIB, label: 'two words' });
    expect(await labelOf(bytes)).toBe('TWO WORDS');
    bytes.write('OTHER    ', bytes.lastIndexOf('TWO WORDS'));
    expect(await labelOf(bytes)).toBe('OTHER');
    bytes.writeUInt8(0xe5, bytes.indexOf('OTHER'));
    expect(await labelOf(bytes)).toBe('TWO WORDS');
    expect(await labelOf(await bytesOf([], { size: MIB }))).toBe('');
  });

  it('takes the short name if the long one is not intact', async () => {
    const { bytes, rootAt } = await volume([file('a name of thirteen', 'x')]);
    const names = async (): Promise<string[]> => (await entriesOf(bytes)).map(({ path }) => path);
    expect(await names()).toEqual(['a name of thirteen']);
    const damages: [number, number][] = [
      [rootAt, 0x43],
      [rootAt, 0x02],
      [rootAt, 0xe5],
      [rootAt + SLOT, 2],
      [rootAt + 13, 0],
      [rootAt + SLOT + 13, 0],
      [rootAt + SLOT + 11, 0x08],
    ];
    for (const [at, value] of damages) {
      const before = bytes.readUInt8(at);
      bytes.writeUInt8(value, at);
      expect(await names()).toEqual(['ANAMEO~1']);
      bytes.writeUInt8(before, at);
    }
    bytes.write('K', rootAt + 2 * SLOT); // another short name than the checksum's
    expect(await names()).toEqual(['KNAMEO~1']);
  });

  it('reads short names in code page 437, and Windows NT’s flags', async () => {
    const { bytes, slot } = await volume([file('NAME.TXT', ''), file('OTHER.TXT', '')]);
    const at = slot('NAME    TXT');
    Buffer.from([0x05, 0x81, 0x9a]).copy(bytes, at);
    bytes.writeUInt8(0x18, slot('OTHER   TXT') + 12);
    expect((await entriesOf(bytes)).map(({ path }) => path)).toEqual(['σüÜE.TXT', 'other.txt']);
  });

  it('ignores clusters after the end of a file', async () => {
    const { bytes, clusterOf, link } = await volume([file('A', 'a'.repeat(600)), file('B', 'b')]);
    link(clusterOf('A') + 1, clusterOf('B'));
    expect(await read(deviceOf(bytes))).toEqual({ A: 'a'.repeat(600), B: 'b' });
  });

  it('refuses a chain that ends before its file, or leads nowhere', async () => {
    const { bytes, clusterOf, link } = await volume([file('A', 'a'.repeat(2000))]);
    link(clusterOf('A') + 1, END);
    await expect(read(deviceOf(bytes))).rejects.toMatchObject(refusal('fat: "A" ends after 1024 of 2000 bytes'));
    for (const to of [0, 1, 0xfff0, 0xfff7]) {
      link(clusterOf('A') + 1, to);
      await expect(read(deviceOf(bytes))).rejects.toMatchObject(refusal(`there is no cluster ${to}`));
    }
  });

  it('refuses loops', async () => {
    const { bytes, clusterOf, link } = await volume([file('A', 'a'.repeat(100_000)), directory('D')]);
    link(clusterOf('A') + 7, clusterOf('A') + 3);
    await expect(read(deviceOf(bytes))).rejects.toMatchObject(refusal('a chain of clusters comes back to cluster'));
    const folder = await volume([...Array.from({ length: 40 }, (_, index) => file(`D/${index}`, ''))]);
    folder.link(3, 2);
    await expect(entriesOf(folder.bytes)).rejects.toMatchObject(
      refusal('cluster 2 is in two folders, or twice in one'),
    );
  });

  it('refuses a folder that is within itself', async () => {
    const { bytes, dataAt } = await volume([directory('D/E/F')]);
    bytes.writeUInt16LE(2, bytes.indexOf('F          ', dataAt) + 26);
    await expect(entriesOf(bytes)).rejects.toMatchObject(refusal('cluster 2 is in two folders'));
  });

  it('refuses files that share more clusters than there are', async () => {
    const entries = Array.from({ length: 3 }, (_, index) => file(`F${index}`, Buffer.alloc(1.2 * MIB, index)));
    const { bytes, slot } = await volume(entries);
    for (const name of ['F0', 'F1', 'F2']) bytes.writeUInt32LE(2 * MIB, slot(name) + 28);
    await expect(entriesOf(bytes)).rejects.toMatchObject(refusal('"F1": the files do not fit into the volume'));
  });

  it('refuses a file that starts nowhere', async () => {
    const { bytes, slot } = await volume([file('A', 'a')]);
    for (const cluster of [0, 1, 0xffff]) {
      bytes.writeUInt16LE(cluster, slot('A') + 26);
      await expect(entriesOf(bytes)).rejects.toMatchObject(refusal(`"A" starts in cluster ${cluster}`));
    }
    bytes.writeUInt8(0x10, slot('A') + 11);
    await expect(entriesOf(bytes)).rejects.toMatchObject(refusal('a folder in cluster 65535'));
  });

  it('refuses a folder with too many entries', async () => {
    const { bytes, slot } = await volume([file('A', Buffer.alloc(2 * MIB + 1, 0xe5))]);
    bytes.writeUInt8(0x10, slot('A') + 11);
    await expect(entriesOf(bytes)).rejects.toMatchObject(refusal('"A" has more than 65536 entries'));
  });

  it('refuses folders that are too deep', async () => {
    const { bytes, dataAt } = await volume([
      directory(Array.from({ length: 256 }, () => 'D').join('/')),
      file('A', 'a'),
    ]);
    expect(await entriesOf(bytes)).toHaveLength(257);
    const [innermost, within] = [dataAt + 255 * 512, bytes.indexOf('D          ', dataAt)];
    bytes.copy(bytes, innermost + 2 * SLOT, within, within + SLOT);
    await expect(entriesOf(bytes)).rejects.toMatchObject(refusal('more than 256 folders within each other'));
  });

  it.each([
    ['..', 'is no name'],
    ['.', 'is no name'],
    ['', 'is no name'],
    ['../etc', 'has a control character or one of'],
    ['a\\b', 'has a control character or one of'],
    ['a\nb', 'has a control character or one of'],
    ['.. ', 'ends with a dot or a space'],
  ])('refuses the long name %j', async (name, message) => {
    const { bytes, rootAt } = await volume([file('long name', '')]);
    const units = Buffer.alloc(26, 0xff);
    units.write(`${name}\0`, 'utf16le');
    for (const [at, from, to] of [[1, 0, 10], [14, 10, 22], [28, 22, 26]] as const) units.copy(bytes, rootAt + at, from, to); // prettier-ignore
    await expect(entriesOf(bytes)).rejects.toMatchObject(refusal(message));
  });

  it.each(['A/B', '\0', 'A\x01', ' ', '..     .'])('refuses the short name %j', async (name) => {
    const { bytes, slot } = await volume([file('NAME', ''), file('OTHER', '')]);
    bytes.write(name.padEnd(11), slot('NAME'), 'latin1');
    if (name === '\0') expect(await entriesOf(bytes)).toEqual([]);
    else await expect(entriesOf(bytes)).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('refuses a name that is there twice', async () => {
    const { bytes, slot } = await volume([file('A', ''), directory('B')]);
    bytes.write('A', slot('B'));
    await expect(entriesOf(bytes)).rejects.toMatchObject(refusal('"A": the name "A" is there twice'));
  });

  it('refuses what is no FAT volume', async () => {
    const bytes = await bytesOf([], { size: 4 * MIB });
    const damages: [number, number, string][] = [
      [510, 0, 'this is no FAT volume: the boot sector has no signature'],
      [11, 0, 'sectors of 0 bytes'],
      [13, 0, 'clusters of 0 sectors'],
      [13, 3, 'clusters of 3 sectors'],
      [14, 0, 'it has no file allocation table'],
      [16, 0, 'it has no file allocation table'],
      [19, 0xffff, 'the volume has 33553920 bytes, and its device 4194304'],
      [21, 0x12, 'a medium of the kind 18'],
      [22, 0xffff, 'FAT12 with -'],
    ];
    for (const [at, value, message] of damages) {
      const broken = Buffer.from(bytes);
      if (value > 0xff || at === 11 || at === 14) broken.writeUInt16LE(value, at);
      else broken.writeUInt8(value, at);
      await expect(readFat(deviceOf(broken))).rejects.toMatchObject(refusal(message));
    }
    await expect(readFat(deviceOf(Buffer.alloc(100)))).rejects.toMatchObject(refusal('the boot sector should be at'));
    await expect(readFat(deviceOf(bytes.subarray(0, MIB)))).rejects.toMatchObject(refusal('its device 1048576'));
  });
});
