/** Reading tar archives of GNU tar and of Python, which judges what was read, and archives in which bytes were changed. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  ftruncateSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTar, type TarOptions, type TarRecord } from '../index.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-tar-reader-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const from = join(root, 'from');
const INPUTS = Number(process.env['FUZZ_INPUTS'] ?? 3000);
const LONG = Array.from({ length: 12 }, (_, index) => `folder-${index}-with-a-rather-long-name`).join('/');
const ATTRIBUTES = { 'user.a=b%': Buffer.from([0xff, 0, 10]), 'user.plain': Buffer.from('value') };
const BLOCK = 512;

async function* inPieces(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

interface Read extends Omit<TarRecord, 'content'> {
  readonly bytes: Buffer;
}

async function read(archive: Uint8Array, options?: TarOptions, piece = 10_007): Promise<Read[]> {
  const all: Read[] = [];
  for await (const { content, ...record } of readTar(inPieces(archive, piece), options)) {
    const parts: Buffer[] = [];
    for await (const bytes of content) parts.push(Buffer.from(bytes));
    all.push({ ...record, bytes: Buffer.concat(parts) });
  }
  return all;
}

/** A line for each member, as Python has it. */
const PYTHON = `
import tarfile, sys, json, hashlib
kinds = {b'0': 'file', b'\\0': 'file', b'7': 'file', b'S': 'file', b'1': 'hard-link', b'2': 'symlink', b'3': 'character-device', b'4': 'block-device', b'5': 'directory', b'6': 'fifo'}
with tarfile.open(sys.argv[1]) as archive:
  for m in archive:
    if m.type not in kinds: continue
    m.name = m.name.removeprefix('./')
    if m.islnk(): m.linkname = m.linkname.removeprefix('./')
    content = archive.extractfile(m).read() if m.isfile() else b''
    attributes = {k[13:].replace('%3D', '=').replace('%25', '%'): v.encode('utf-8', 'surrogateescape').hex() for k, v in m.pax_headers.items() if k.startswith('SCHILY.xattr.')}
    print(json.dumps([m.name, kinds[m.type], m.mode & 0o7777, m.uid, m.gid, int(m.mtime // 1), m.size if m.isfile() else 0, m.linkname, [m.devmajor, m.devminor] if m.isdev() and not m.isfifo() else None, attributes, hashlib.sha256(content).hexdigest()]))
`;

function byPython(archive: Uint8Array): unknown[] {
  const path = join(root, 'judged.tar');
  writeFileSync(path, archive);
  const told = execFileSync('python3', ['-c', PYTHON, path], { maxBuffer: 64 << 20 }).toString();
  return told.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown); // prettier-ignore
}

const told = (records: readonly Read[]): unknown[] =>
  records.map(({ path, type, mode, uid, gid, mtime, size, link = '', rdev = null, xattrs, bytes }) => [
    path === '' ? '.' : path,
    ...[type, mode, uid, gid, mtime, size, link, rdev],
    Object.fromEntries([...(xattrs ?? [])].map(([name, value]) => [name, Buffer.from(value).toString('hex')])),
    createHash('sha256').update(bytes).digest('hex'),
  ]);

const tar = (...args: string[]): Buffer =>
  execFileSync('tar', ['-C', from, '-cf', '-', ...args], { maxBuffer: 64 << 20, stdio: ['ignore', 'pipe', 'ignore'] });

beforeAll(() => {
  mkdirSync(join(from, LONG), { recursive: true });
  writeFileSync(join(from, LONG, 'file'), 'long', { mode: 0o600 });
  writeFileSync(join(from, 'plain'), 'content', { mode: 0o644 });
  writeFileSync(join(from, 'empty'), '');
  writeFileSync(join(from, 'early'), '');
  writeFileSync(join(from, 'block'), Buffer.alloc(BLOCK, 1));
  writeFileSync(Buffer.concat([Buffer.from(`${from}/`), Buffer.from('caf\xe9', 'latin1')]), 'latin1');
  writeFileSync(join(from, 'grüße 日本'), 'utf-8');
  linkSync(join(from, 'plain'), join(from, 'same'));
  symlinkSync(`${LONG}/file`, join(from, 'link'));
  execFileSync('mkfifo', [join(from, 'pipe')]);
  const fd = openSync(join(from, 'sparse'), 'w');
  for (let part = 0; part < 60; part++) writeSync(fd, Buffer.alloc(4096, part + 1), 0, 4096, part * 40_960 + 8192);
  ftruncateSync(fd, 3_000_000);
  closeSync(fd);
  const setting = 'import os, sys; os.setxattr(sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3]))';
  for (const [name, value] of Object.entries(ATTRIBUTES))
    execFileSync('python3', ['-c', setting, join(from, 'block'), name, value.toString('hex')]);
  lutimesSync(join(from, 'block'), 1_700_000_000.25, 1_700_000_000.25);
  execFileSync('touch', ['-d', '@-1.5', join(from, 'early')]); // Node.js takes negative times for now
});

describe('the reader of tar', () => {
  it.each([
    ['v7', ['--format=v7', 'plain', 'empty', 'same', 'block']],
    ['ustar', ['--format=ustar', 'plain', 'empty', 'same', 'block', 'pipe']],
    ['old GNU', ['--format=oldgnu', '.']],
    ['GNU', ['--format=gnu', '.']],
    ['GNU with sparse files', ['--format=gnu', '--sparse', '.']],
    ['pax', ['--format=pax', '.']],
    ['pax with extended attributes', ['--format=pax', '--xattrs', '.']],
    ['pax with sparse files 0.0', ['--format=pax', '--sparse', '--sparse-version=0.0', '.']],
    ['pax with sparse files 0.1', ['--format=pax', '--sparse', '--sparse-version=0.1', '.']],
    ['pax with sparse files 1.0', ['--format=pax', '--sparse', '--sparse-version=1.0', '.']],
    ['large owners and early times', ['--format=gnu', '--owner=:3000000000', '--group=:2097152', '--mtime=@-100', '.']],
    ['the same in pax', ['--format=pax', '--owner=:3000000000', '--group=:2097152', '--mtime=@-100', '.']],
    ['a label', ['--format=gnu', '-V', 'label', 'plain']],
    ['global records', ['--format=pax', '--pax-option=globexthdr.name=g,comment=x,gname=all', 'plain', 'link']],
  ])('reads what GNU tar writes as Python does: %s', async (_, args) => {
    const archive = tar(...args);
    const wanted = byPython(archive);
    expect(wanted.length).toBeGreaterThan(0);
    for (const piece of [1 << 20, 511]) expect(told(await read(archive, {}, piece))).toEqual(wanted);
  });

  it('keeps bytes of names and of extended attributes, and fractions of times', async () => {
    const found = new Map((await read(tar('--format=pax', '--xattrs', '.'))).map((one) => [one.path, one]));
    expect(found.get('caf\udce9')?.bytes.toString()).toBe('latin1');
    expect(found.get('block')).toMatchObject({ mtime: 1_700_000_000, nanoseconds: 250_000_000 });
    expect(found.get('early')).toMatchObject({ mtime: -2, nanoseconds: 500_000_000 });
    expect(Object.fromEntries(found.get('block')?.xattrs ?? [])).toEqual(ATTRIBUTES);
    expect(found.get('link')?.link).toBe(`${LONG}/file`);
    expect(found.get('')?.type).toBe('directory');
  });

  it.each(['gnu', '0.0', '0.1', '1.0'])('says where the data of a sparse file are: %s', async (version) => {
    const format = version === 'gnu' ? ['--format=gnu'] : ['--format=pax', `--sparse-version=${version}`];
    const archive = tar(...format, '--sparse', 'sparse');
    const [record] = await read(archive);
    expect(record?.size).toBe(3_000_000);
    expect(record?.parts.length).toBe(60);
    const rebuilt = Buffer.alloc(3_000_000);
    for (const { offset, length, at } of record?.parts ?? []) archive.copy(rebuilt, offset, at, at + length);
    expect(rebuilt.equals(readFileSync(join(from, 'sparse')))).toBe(true);
    expect(record?.bytes.equals(rebuilt)).toBe(true);
  });

  it.each(['GNU_FORMAT', 'PAX_FORMAT'])('reads what Python writes: %s', async (format) => {
    const path = join(root, 'python.tar');
    const program = `
import tarfile, io, sys
with tarfile.open(sys.argv[1], 'w', format=tarfile.${format}, encoding='utf-8', errors='surrogateescape') as archive:
  def add(name, kind, content=b'', **more):
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(content)
    for key, value in more.items(): setattr(member, key, value)
    archive.addfile(member, io.BytesIO(content))
  add('d', tarfile.DIRTYPE, mode=0o1777)
  add('d/' + 'x' * 300, tarfile.REGTYPE, b'long', uid=2**31, gid=2**32 - 1)
  add('d/null', tarfile.CHRTYPE, devmajor=1, devminor=3)
  add('d/disk', tarfile.BLKTYPE, devmajor=259, devminor=70000)
  add('d/hard', tarfile.LNKTYPE, linkname='d/' + 'x' * 300)
  add('d/soft', tarfile.SYMTYPE, linkname='\\udcff' * 150)
  add('d/early', tarfile.REGTYPE, b'1' * 513, mtime=-5)
  add('d/contiguous', tarfile.CONTTYPE, b'22')`;
    execFileSync('python3', ['-c', program, path]);
    const archive = readFileSync(path);
    const found = await read(archive);
    expect(told(found)).toEqual(byPython(archive));
    expect(found.map(({ type }) => type)).toEqual([
      'directory',
      'file',
      'character-device',
      'block-device',
      'hard-link',
      'symlink',
      'file',
      'file',
    ]);
  });

  it('reads gzip of several members, and zstd of several frames', async () => {
    const archive = tar('--format=pax', '.');
    const [first, second] = [archive.subarray(0, 5000), archive.subarray(5000)];
    const wanted = told(await read(archive));
    const zstd = (bytes: Buffer, ...args: string[]): Buffer => execFileSync('zstd', ['-qc', ...args], { input: bytes, maxBuffer: 64 << 20 }); // prettier-ignore
    const skippable = Buffer.from('5c2a4d180400000074657374', 'hex');
    for (const packed of [
      Buffer.concat([gzipSync(first), gzipSync(second)]),
      Buffer.concat([skippable, zstd(first), skippable, zstd(second, '--no-check'), skippable]),
      zstd(archive, '-19', '--long=27'),
    ])
      for (const piece of [1 << 20, 1000]) expect(told(await read(packed, {}, piece))).toEqual(wanted);
  });

  it('skips what is not read, and reads up to the end of the stream', async () => {
    const archive = Buffer.concat([tar('.'), Buffer.alloc(100_000)]);
    let taken = 0;
    const stream = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of inPieces(archive, 1000)) {
        taken += piece.length;
        yield piece;
      }
    };
    const paths: string[] = [];
    for await (const { path, content, size } of readTar(stream())) {
      paths.push(path);
      if (size > 1) await content[Symbol.asyncIterator]().next(); // the rest is left
    }
    expect(paths).toEqual((await read(archive)).map(({ path }) => path));
    expect(taken).toBe(archive.length);
  });

  it('ends the stream when it is left', async () => {
    let isEnded = false;
    const stream = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield* inPieces(gzipSync(tar('.')), 1000);
      } finally {
        isEnded = true;
      }
    };
    for await (const { type } of readTar(stream())) if (type === 'file') break;
    await expect.poll(() => isEnded).toBe(true);
  });

  it('passes on the error of the stream, also through gzip', async () => {
    const broken = async function* (bytes: Buffer): AsyncGenerator<Uint8Array> {
      yield* inPieces(bytes.subarray(0, bytes.length >> 1), 100);
      throw Object.assign(new Error('the line is dead'), { code: 'ECONNRESET' });
    };
    const all = async (stream: AsyncIterable<Uint8Array>): Promise<void> => {
      for await (const { content } of readTar(stream)) for await (const bytes of content) expect(bytes).not.toBe(0);
    };
    await expect(all(broken(tar('.')))).rejects.toMatchObject({ code: 'ECONNRESET' });
    await expect(all(broken(gzipSync(tar('.'))))).rejects.toMatchObject({ code: 'ECONNRESET' });
  });
});

/** A header of ustar, with any of its fields replaced. */
function header(fields: {
  name: string;
  kind?: string;
  size?: number;
  raw?: readonly [at: number, bytes: string][];
}): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(fields.name, 0, 'latin1');
  block.write('0000644\0' + '0000000\0'.repeat(2), 100);
  block.write(
    `${(fields.size ?? 0).toString(8).padStart(11, '0')}\0${'0'.repeat(11)}\0        ${fields.kind ?? '0'}`,
    124,
  );
  block.write('ustar\x0000', 257);
  for (const [at, bytes] of fields.raw ?? []) block.write(bytes, at, 'latin1');
  const sum = block.reduce((all, byte) => all + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

const padded = (text: string): Buffer =>
  Buffer.concat([Buffer.from(text, 'latin1'), Buffer.alloc((BLOCK - (text.length % BLOCK)) % BLOCK)]);

function pax(...records: readonly string[]): Buffer {
  const body = records
    .map((record) => {
      const length = record.length + 2;
      const digits = String(length + String(length).length).length;
      return `${length + digits} ${record}\n`;
    })
    .join('');
  return Buffer.concat([header({ name: 'x', kind: 'x', size: body.length }), padded(body)]);
}

const END = Buffer.alloc(2 * BLOCK);
const file = (name = 'f'): Buffer => header({ name });

describe('the reader of tar refuses', () => {
  it.each<[string, Buffer[], string]>([
    ['a path with ..', [file('a/../../b')], 'may lead out of the root'],
    ['an absolute path', [file('/etc/passwd')], 'absolute'],
    ['.. in a hard link', [header({ name: 'a', kind: '1', raw: [[157, '../b']] })], 'may lead out of the root'],
    ['NUL in a path', [pax('path=a\0b'), file()], 'has the path "a\\u0000b"'],
    ['an empty path', [file('')], 'has the path ""'],
    ['a file for the root', [file('.')], 'the root is a file'],
    ['a link to nothing', [header({ name: 'a', kind: '2' })], 'is a link whose target has 0 bytes'],
    ['a path above PATH_MAX', [pax(`path=${'x'.repeat(4097)}`), file()], 'a path of 4097 bytes'],
    ['a wrong checksum', [Buffer.concat([file().subarray(0, 511), Buffer.of(1)])], 'its checksum is'],
    ['another kind', [header({ name: 'a', kind: 'Z' })], 'of the kind "Z"'],
    ['a size that is no number', [header({ name: 'a', raw: [[124, '12x']] })], 'the size "12x'],
    ['a negative size', [header({ name: 'a', raw: [[124, '\xff'.repeat(12)]] })], 'has -1 bytes'],
    [
      'a size above 2^53',
      [header({ name: 'a', raw: [[124, `\x80${'\x7f'.repeat(11)}`]] })],
      'is no number that a file can have',
    ],
    ['an owner above 2^32', [pax('uid=4294967296'), file()], 'the uid 4294967296'],
    ['a pax header above 1 MiB', [header({ name: 'x', kind: 'x', size: (1 << 20) + 1 })], 'are the most'],
    ['a long name above 1 MiB', [header({ name: 'x', kind: 'L', size: 8 ** 11 - 1 })], 'are the most'],
    [
      'a record beyond its header',
      [header({ name: 'x', kind: 'x', size: 9 }), padded('99 a=bcd\n'), file()],
      'not the start of a record',
    ],
    [
      'a record without a key',
      [header({ name: 'x', kind: 'x', size: 5 }), padded('5 =b\n'), file()],
      'not the start of a record',
    ],
    ['a time that is none', [pax('mtime=1e9'), file()], 'which is no time'],
    [
      'a sparse file whose parts overlap',
      [pax('GNU.sparse.size=9', 'GNU.sparse.numblocks=2', 'GNU.sparse.map=0,5,4,1'), file()],
      'not in order',
    ],
    [
      'a sparse file whose parts are beyond it',
      [pax('GNU.sparse.size=9', 'GNU.sparse.numblocks=1', 'GNU.sparse.map=5,5'), file()],
      'beyond its end',
    ],
    [
      'a sparse file without its data',
      [pax('GNU.sparse.size=9', 'GNU.sparse.numblocks=1', 'GNU.sparse.map=5,1'), file()],
      'whose parts have 1',
    ],
    [
      'a sparse file of another number of parts',
      [pax('GNU.sparse.size=9', 'GNU.sparse.numblocks=2', 'GNU.sparse.map=5,1'), file()],
      'not the number of parts',
    ],
    ['a sparse format of the future', [pax('GNU.sparse.major=2', 'GNU.sparse.minor=0'), file()], 'the format 2.0'],
    ['something behind the end', [file(), Buffer.alloc(BLOCK), file()], 'something follows the end'],
    ['an end within a header', [file().subarray(0, 100)], 'ends within a header'],
    ['an end within a content', [header({ name: 'abc', size: 600 }), Buffer.alloc(BLOCK)], 'ends within "abc"'],
    ['an end behind a header for a member', [pax('path=x'), END], 'ends behind a header for a member'],
    ['gzip that is cut off', [gzipSync(tarOf(file())).subarray(0, 30)], 'unexpected end of file'],
    ['zstd that is damaged', [Buffer.from('28b52ffd04ff0000', 'hex')], 'zstd'],
    ['zstd that is cut off', [Buffer.from('28b52ffd24', 'hex')], 'ends within a frame'],
    ['zstd with a window of 2 GiB', [Buffer.from('28b52ffd00a8010000', 'hex')], 'needs more than 128 MiB'],
  ])('%s', async (_, blocks, message) => {
    const reading = read(Buffer.concat(blocks));
    await expect(reading).rejects.toThrow(message);
    await expect(reading).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it.each([
    ['xz', 'fd377a585a000004'],
    ['bzip2', '425a683931415926'],
  ])('%s, which it names', async (name, start) => {
    await expect(read(Buffer.from(start, 'hex'))).rejects.toMatchObject({
      code: 'ENOTSUP',
      message: expect.stringContaining(`this is ${name}`) as string,
    });
  });
});

function tarOf(...blocks: Buffer[]): Buffer {
  return Buffer.concat([...blocks, END]);
}

describe('the reader of tar takes', () => {
  it('paths as within a root of their own, if it is asked to', async () => {
    const blocks = [file('/etc//./passwd'), file('a/../../b'), header({ name: 'h', kind: '1', raw: [[157, '/../etc/passwd']] })]; // prettier-ignore
    const found = await read(tarOf(...blocks), { unsafe: 'within' });
    expect(found.map(({ path, link }) => [path, link])).toEqual([
      ['etc/passwd', undefined],
      ['b', undefined],
      ['h', 'etc/passwd'],
    ]);
  });

  it.each<[string, Buffer[], object]>([
    ['no blocks at the end', [file('a')], { path: 'a' }],
    ['numbers with spaces', [header({ name: 'a', raw: [[100, '   644 \0']] })], { mode: 0o644 }],
    ['numbers without an end', [header({ name: 'a', raw: [[100, '00000755']] })], { mode: 0o755 }],
    ['negative numbers of base 256', [header({ name: 'a', raw: [[136, `${'\xff'.repeat(11)}\xfe`]] })], { mtime: -2 }],
    [
      'large numbers of base 256',
      [header({ name: 'a', raw: [[108, `\x80${'\0'.repeat(3)}\xb2\xd0\x5e\0`]] })],
      { uid: 3_000_000_000 },
    ],
    ['negative owners', [header({ name: 'a', raw: [[116, `${'\xff'.repeat(7)}\xfe`]] })], { gid: 2 ** 32 - 2 }],
    ['folders by their names', [header({ name: 'a/' })], { path: 'a', type: 'directory' }],
    [
      'a size behind a link',
      [header({ name: 'a', kind: '1', size: 1000, raw: [[157, './b/']] })],
      { link: 'b', size: 0 },
    ],
    ['prefixes', [header({ name: 'b', raw: [[345, 'a/a']] })], { path: 'a/a/b' }],
    ['times below zero', [pax('mtime=-0.000000001'), file()], { mtime: -1, nanoseconds: 999_999_999 }],
    [
      'times of ten digits behind the point',
      [pax('mtime=5.1234567891'), file()],
      { mtime: 5, nanoseconds: 123_456_789 },
    ],
    [
      'attributes of libarchive',
      [pax('LIBARCHIVE.xattr.user.%20a=/wA='), file()],
      { xattrs: new Map([['user. a', Buffer.of(255, 0)]]) },
    ],
    [
      'attributes without a value',
      [pax('SCHILY.xattr.user.e='), file()],
      { xattrs: new Map([['user.e', Buffer.alloc(0)]]) },
    ],
    ['an empty record for the header’s own value', [pax('path=x', 'path='), file('own')], { path: 'own' }],
  ])('%s', async (_, blocks, wanted) => {
    expect((await read(Buffer.concat(blocks)))[0]).toMatchObject(wanted);
  });

  it('records for all members, until a member has its own', async () => {
    const global = (text: string): Buffer => {
      const [, ...rest] = [header({ name: 'g' }), pax(text).subarray(BLOCK)];
      return Buffer.concat([
        header({ name: 'g', kind: 'g', size: text.length + 3 + (text.length > 6 ? 1 : 0) }),
        ...rest,
      ]);
    };
    const found = await read(
      tarOf(global('uid=7'), file('a'), pax('uid=8'), file('b'), file('c'), global('uid='), file('d')),
    );
    expect(found.map(({ uid }) => uid)).toEqual([7, 8, 7, 0]);
  });

  it('a file of 9 GiB without holding it', { timeout: 120_000 }, async () => {
    const size = 9 * 2 ** 30;
    const block = header({ name: 'large', raw: [[124, `\x80${'\0'.repeat(6)}\x02\x40\0\0\0`]] });
    const piece = Buffer.alloc(1 << 20, 1);
    const stream = async function* (): AsyncGenerator<Uint8Array> {
      yield block;
      for (let sent = 0; sent < size; sent += piece.length) yield await Promise.resolve(piece);
      yield END;
    };
    let [length, members] = [0, 0];
    const before = process.memoryUsage().rss;
    for await (const { content, size: stated } of readTar(stream())) {
      members++;
      expect(stated).toBe(size);
      for await (const bytes of content) length += bytes.length;
    }
    expect([length, members]).toEqual([size, 1]);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 << 20);
  });
});

describe('the reader of tar', () => {
  it('reads or refuses archives in which bytes were changed', { timeout: 600_000 }, async () => {
    const seeds = [
      tar('--format=gnu', '--sparse', '.'),
      ...['0.0', '0.1', '1.0'].map((version) =>
        tar('--format=pax', '--xattrs', '--sparse', `--sparse-version=${version}`, '.'),
      ),
    ];
    const change = fc.record({
      at: fc.nat(),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
      digits: fc.boolean(),
    });
    const cut = fc.option(fc.nat(), { freq: 6 });
    let [whole, refused] = [0, 0];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...seeds),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        cut,
        async (seed, changes, end) => {
          const archive = Buffer.from(seed.subarray(0, end === null ? seed.length : end % seed.length));
          for (const { at, bytes, digits } of changes) {
            const some = digits ? bytes.map((byte) => 0x30 + (byte % 8)) : bytes;
            archive.set(some.subarray(0, archive.length - (at % (archive.length + 1))), at % (archive.length + 1));
          }
          rightChecksums(archive);
          try {
            for await (const { content, size, parts } of readTar(inPieces(archive, 4096))) {
              const most = Math.min(size, 8 << 20);
              let length = 0;
              for await (const bytes of content) if ((length += bytes.length) >= most) break;
              expect(length).toBeGreaterThanOrEqual(most);
              for (const part of parts) expect(part.at + part.length).toBeLessThanOrEqual(archive.length);
            }
            whole++;
          } catch (error) {
            expect(error).toMatchObject({ code: 'EINVAL' });
            refused++;
          }
        },
      ),
      { numRuns: INPUTS },
    );
    expect(Math.min(whole, refused)).toBeGreaterThan(INPUTS / 20);
  });
});

/** So that changed headers are not all refused at once. */
function rightChecksums(archive: Buffer): void {
  for (let at = 0; at + BLOCK <= archive.length; at += BLOCK) {
    const block = archive.subarray(at, at + BLOCK);
    if (block.toString('latin1', 257, 262) !== 'ustar') continue;
    block.fill(' ', 148, 156);
    const sum = block.reduce((all, byte) => all + byte, 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  }
}
