/** The reader of ISO 9660: images of other programs, and images that are damaged on purpose. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { directory, file, symlink, type Entry } from '@nodeos/tree';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readIso } from '../iso-reader.js';
import { bytesDevice, contentOf, imageBytes, lackingOf, listingOf, listingOfTree } from './iso-support.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-iso-reader-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const { lacking, notHere } = lackingOf('xorriso', 'genisoimage');
const SECTOR = 2048;

/** How many damaged images are read. */
const INPUTS = Number(process.env['FUZZ_INPUTS'] ?? 3000);

const read = async (bytes: Buffer): Promise<Entry[]> => {
  const found: Entry[] = [];
  for await (const entry of (await readIso(bytesDevice(bytes))).entries()) found.push(entry);
  return found;
};

describe('the reader of ISO 9660', () => {
  it('has the label and the attributes', async () => {
    const owned: Entry = { ...file('a', 'abc', 0o4711), uid: 100_000, gid: 70_000, mtime: 1_700_000_000 };
    const device: Entry = { ...owned, path: 'b', type: 'block-device', size: 0, rdev: [259, 300], mode: 0o600 };
    const bytes = await imageBytes([owned, device, { ...device, path: 'c', rdev: [8, 1] }], { label: 'The label' });
    expect(await readIso(bytesDevice(bytes))).toMatchObject({ format: 'iso9660', label: 'The label' });
    const [a, b, c] = await read(bytes);
    expect(a).toMatchObject({
      path: 'a',
      type: 'file',
      size: 3,
      mode: 0o4711,
      uid: 100_000,
      gid: 70_000,
      mtime: 1_700_000_000,
    });
    expect(b).toMatchObject({ path: 'b', type: 'block-device', size: 0, rdev: [259, 300], mode: 0o600 });
    expect(c).toMatchObject({ path: 'c', type: 'block-device', rdev: [8, 1] });
  });

  it('reads large contents in pieces of at most 1 MiB', async () => {
    const [entry] = await read(await imageBytes([file('a', Buffer.alloc(5 << 19, 7))]));
    const lengths: number[] = [];
    for await (const bytes of entry?.open?.() ?? []) lengths.push(bytes.length);
    expect(lengths).toEqual([1 << 20, 1 << 20, 1 << 19]);
  });

  it.each(['.', '..', '/', 'a//b', '../../a/./b/', '/a/', 'x'.repeat(4000), `${'ü'.repeat(200)}/..`])(
    'keeps the link to %j',
    async (link) => {
      expect((await read(await imageBytes([symlink('a', link)])))[0]).toMatchObject({ link });
    },
  );
});

/** A folder with names that the smallest volume can hold, and one that is deeper than ECMA-119 has it. */
function makeFolder(): string {
  const folder = join(root, 'folder');
  const put = (path: string, content: string): void => {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), content);
    utimesSync(join(folder, path), 1_600_000_000, 1_600_000_000);
  };
  put('file.txt', 'text');
  put('sub/large', 'large'.repeat(100_000));
  put('1/2/3/4/5/6/7/8/9/10/deep', 'deep');
  return folder;
}

describe.skipIf(lacking.length > 0)(`images of other programs${notHere}`, () => {
  let folder: string;
  let plain: Record<string, string>;
  beforeAll(() => {
    folder = makeFolder();
    plain = listingOf(folder);
  });

  const make = (tool: string, ...args: string[]): Buffer => {
    const path = join(root, `${tool}.iso`);
    const command = tool === 'xorriso' ? ['xorriso', '-as', 'mkisofs'] : [tool];
    execFileSync(command[0] ?? '', [...command.slice(1), '-quiet', '-V', 'LABEL', ...args, '-o', path, folder], {
      stdio: 'pipe',
    });
    return readFileSync(path);
  };

  it.each([
    ['genisoimage', 'plain names', ['-D']],
    ['genisoimage', 'Joliet', ['-J', '-D']],
    ['genisoimage', 'names of 31 characters', ['-D', '-l', '-allow-lowercase']],
    ['xorriso', 'Joliet', ['--norock', '-J', '-D']],
  ])('of %s with %s', async (tool, _, args) => {
    const bytes = make(tool, ...args);
    const reader = await readIso(bytesDevice(bytes));
    expect(reader.label).toBe('LABEL');
    expect(await listingOfTree(reader.entries())).toEqual(plain);
  });

  it.each([
    ['genisoimage', 'Rock Ridge', ['-R', '-D']],
    ['genisoimage', 'Rock Ridge and folders that were moved', ['-R', '-J']],
    ['xorriso', 'Rock Ridge', ['-R', '-J', '-D']],
    ['xorriso', 'Rock Ridge and folders that were moved', ['-R', '-no-pad']],
  ])('of %s with %s', async (tool, _, args) => {
    const long = `${'long '.repeat(40)}Ünï`;
    writeFileSync(join(folder, long), long);
    symlinkSync(`../${'target/'.repeat(28)}`.slice(0, -1), join(folder, 'link'));
    const expected = listingOf(folder);
    const entries = await read(make(tool, ...args));
    rmSync(join(folder, long));
    rmSync(join(folder, 'link'));
    const found = await listingOfTree(streamOf(entries.filter(({ path }) => path !== 'rr_moved')));
    expect(found).toEqual(expected);
    expect(entries.find(({ path }) => path === 'file.txt')?.mtime).toBe(1_600_000_000);
  });
});

async function* streamOf<T>(values: readonly T[]): AsyncGenerator<T> {
  await Promise.resolve();
  yield* values;
}

/** Offsets in an image without boot images: the primary volume, and the record of the file `a` in its root. */
const PRIMARY = 16 * SECTOR;

describe('a damaged ISO 9660 image', () => {
  const tree = [file('a', 'a'), directory('b'), symlink('c', 'a'), file('b/d', 'd')];
  const damaged = async (change: (bytes: Buffer, root: number) => void): Promise<Buffer> => {
    const bytes = await imageBytes(tree);
    change(bytes, bytes.readUInt32LE(PRIMARY + 158) * SECTOR);
    return bytes;
  };
  /** Offset of a record in the root, by its identifier. */
  const recordAt = (bytes: Buffer, at: number, identifier: string): number =>
    bytes.indexOf(identifier, at, 'latin1') - 33;

  it.each<[string, (bytes: Buffer, root: number) => void, string]>([
    ['has no descriptor', (bytes) => bytes.fill(0, PRIMARY, PRIMARY + 8), 'this is no ISO 9660 image'],
    [
      'has no end of its descriptors',
      (bytes) => bytes.fill(0, PRIMARY + 2 * SECTOR, PRIMARY + 3 * SECTOR),
      'has no end',
    ],
    ['has no primary volume', (bytes) => bytes.writeUInt8(3, PRIMARY), 'there is no primary volume'],
    ['has blocks of another size', (bytes) => bytes.writeUInt16LE(4096, PRIMARY + 128), 'blocks of 4096 bytes'],
    [
      'has its root outside',
      (bytes) => bytes.writeUInt32LE(1e6, PRIMARY + 158),
      'the root should be at byte 2048000000',
    ],
    ['has a folder that is its parent', (bytes, root) => bytes.writeUInt32LE(root / SECTOR, recordAt(bytes, root, 'B') + 2), '"b" is another folder too'], // prettier-ignore
    ['has a file twice', (bytes, root) => bytes.write('c', bytes.indexOf('NM', recordAt(bytes, root, 'A.;1')) + 5), 'the root has "c" twice'], // prettier-ignore
    ['has a file named ..', (bytes, root) => bytes.write('/', bytes.indexOf('NM', recordAt(bytes, root, 'A.;1')) + 5), 'a file with the name "/"'], // prettier-ignore
    ['has a folder that is a file', (bytes, root) => bytes.writeUInt8(0, recordAt(bytes, root, 'B') + 25), '"b" has the mode 16877'], // prettier-ignore
    ['has a folder that is too large', (bytes, root) => bytes.writeUInt32LE(0x7ffff800, recordAt(bytes, root, 'B') + 10), 'folders of more than'], // prettier-ignore
    ['has a record beyond its sector', (bytes) => bytes.writeUInt32LE(100, PRIMARY + 166), 'the root has a record that does not end in its sector'], // prettier-ignore
    ['has a file without an end', (bytes, root) => bytes.writeUInt8(0x80, recordAt(bytes, root, 'C.;1') + 25), 'the root ends within a file'], // prettier-ignore
    ['has a part of another file', (bytes, root) => bytes.writeUInt8(0x80, recordAt(bytes, root, 'A.;1') + 25), 'the root has a file without its last part'], // prettier-ignore
    [
      'has fields that continue in themselves',
      (bytes, root) => {
        const at = bytes.indexOf('CE', root);
        const area = bytes.readUInt32LE(at + 4) * SECTOR;
        bytes.copy(bytes, area, at, at + 28);
      },
      'more than 32 continuation areas',
    ],
  ])('that %s is refused', async (_, change, message) => {
    const failed = damaged(change).then(read);
    await expect(failed).rejects.toThrow(`iso9660: `);
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('with a content outside of it can be listed', async () => {
    const bytes = await damaged((all, at) => all.writeUInt32LE(1e6, recordAt(all, at, 'A.;1') + 2));
    const entry = (await read(bytes)).find(({ path }) => path === 'a');
    await expect(contentOf(entry ?? directory(''))).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it(`gives files or an error, ${INPUTS} times`, { timeout: 3_600_000 }, async () => {
    const samples = await seeds();
    const random = randomFrom(1);
    const outcomes = { read: 0, refused: 0 };
    for (let input = 0; input < INPUTS; input++) {
      const { bytes, end } = samples[input % samples.length] ?? { bytes: Buffer.alloc(0), end: 0 };
      const undo = mutate(bytes, end, random);
      try {
        await readAll(bytes);
        outcomes.read++;
      } catch (error) {
        if ((error as { code?: string }).code !== 'EINVAL') throw error;
        outcomes.refused++;
      }
      undo();
    }
    expect(outcomes.read).toBeGreaterThan(INPUTS / 20);
    expect(outcomes.refused).toBeGreaterThan(INPUTS / 20);
  });
});

interface Seed {
  readonly bytes: Buffer;
  /** Where descriptors and folders end, in bytes. */
  readonly end: number;
}

/** Small images with everything that the reader knows. */
async function seeds(): Promise<Seed[]> {
  const tree = [
    file('a', 'a'),
    symlink('l', '../b/./c'),
    symlink('m', `/${'m'.repeat(300)}`),
    file(`n/${'n'.repeat(250)}`, 'n'.repeat(3000)),
    file('n/o/p', 'p'),
    { ...directory('dev'), path: 'dev', type: 'block-device' as const, rdev: [8, 300] as const },
  ];
  const own = await imageBytes(tree);
  const joliet = Buffer.from(own);
  joliet.write('XX', joliet.readUInt32LE(PRIMARY + 158) * SECTOR + 34); // no SP field
  const plain = Buffer.from(joliet);
  plain.write('XX', PRIMARY + SECTOR + 88); // no escape sequence
  const end = own.readUInt32LE(PRIMARY + SECTOR + 158) * SECTOR + 4 * SECTOR;
  const all = [own, own, joliet, plain].map((bytes) => ({ bytes: Buffer.from(bytes), end }));
  if (lacking.length > 0) return all;
  const folder = makeFolder();
  symlinkSync('a', join(folder, 'link'));
  rmSync(join(folder, 'sub/large'));
  const path = join(root, 'seed.iso');
  for (const command of [
    ['genisoimage', '-R', '-quiet'],
    ['xorriso', '-as', 'mkisofs', '-quiet', '-R'],
  ]) {
    execFileSync(command[0] ?? '', [...command.slice(1), '-no-pad', '-o', path, folder], { stdio: 'pipe' });
    const bytes = readFileSync(path);
    all.push({ bytes, end: bytes.length });
  }
  return all;
}

/** Changes some bytes behind the system area. @returns how to change them back */
function mutate(bytes: Buffer, end: number, random: (below: number) => number): () => void {
  const old: [at: number, value: number][] = [];
  const set = (at: number, value: number): void => {
    old.push([at, bytes.readUInt8(at)]);
    bytes.writeUInt8(value, at);
  };
  const used = (): number => {
    // Most bytes are zeros that nobody reads.
    for (let tries = 0; ; tries++) {
      const at = PRIMARY + random(end - PRIMARY - 8);
      if (bytes[at] !== 0 || tries === 20) return at;
    }
  };
  for (let count = 1 + random(4); count > 0; count--) {
    const at = used();
    const kind = random(5);
    if (kind === 0) set(at, random(256));
    else if (kind === 1) set(at, bytes.readUInt8(at) ^ (1 << random(8)));
    else if (kind === 2) set(at, [0, 1, 2, 4, 8, 0x2e, 0x2f, 0x7f, 0x80, 0xff][random(10)] ?? 0);
    else for (let from = used(), length = 1 + random(8), i = 0; i < length; i++) set(at + i, bytes.readUInt8(from + i));
  }
  return () => {
    for (const [at, value] of old.toReversed()) bytes.writeUInt8(value, at);
  };
}

/** Reads all contents. @throws Error for a path that leads elsewhere */
async function readAll(bytes: Buffer): Promise<void> {
  const types = new Map<string, Entry['type']>([['', 'directory']]);
  for await (const entry of (await readIso(bytesDevice(bytes))).entries()) {
    const parts = entry.path.split('/');
    if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0')))
      throw new Error(`the path ${JSON.stringify(entry.path)}`);
    if (types.get(parts.slice(0, -1).join('/')) !== 'directory' || types.has(entry.path))
      throw new Error(`${JSON.stringify(entry.path)} is in no folder, or there twice`);
    types.set(entry.path, entry.type);
    if (!Number.isFinite(entry.mtime) || !(entry.size >= 0)) throw new Error(`numbers of ${entry.path}`);
    for await (const piece of entry.open?.() ?? []) if (piece.length > 1 << 20) throw new Error('a large piece');
  }
}

/** Numbers from 0 on, the same for the same seed (xorshift). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
