import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { file, fromDirectory, fromFile, writeCpio, type DirectoryOptions, type Entry } from '../index.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-tree-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => {
  const dir = join(root, String(count++));
  mkdirSync(dir);
  return dir;
};

const NAMES = ['b.txt', 'B.txt', 'a/z', 'a/10', 'a/9', 'a-b', 'ü', 'empty', 'run.sh', 'a.b'];

/** A folder with the same files, made in the given order, at the given time and with the given umask. */
function folder(names: readonly string[], mask: number, date: number): string {
  const dir = fresh();
  for (const name of names) {
    const path = join(dir, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, name === 'empty' ? '' : `content of ${name}`);
    chmodSync(path, (name === 'run.sh' ? 0o777 : 0o666) & ~mask);
    utimesSync(path, date, date);
  }
  symlinkSync('../b.txt', join(dir, 'a/link'));
  symlinkSync('/nowhere', join(dir, 'dangling'));
  chmodSync(join(dir, 'a'), 0o777 & ~mask);
  return dir;
}

async function entries(dir: string, options: DirectoryOptions = {}): Promise<Entry[]> {
  const list: Entry[] = [];
  for await (const entry of fromDirectory(dir, options)) list.push(entry);
  return list;
}

describe('a folder as a tree', () => {
  it('is sorted, with each folder before its contents', async () => {
    const list = await entries(folder(NAMES, 0o22, 1e9));
    expect(list.map(({ path }) => path)).toEqual(
      [
        ...['B.txt', 'a', 'a/10', 'a/9', 'a/link', 'a/z'],
        ...['a-b', 'a.b', 'b.txt', 'dangling', 'empty', 'run.sh', 'ü'],
      ].sort((a, b) => (a.replaceAll('/', '\0') < b.replaceAll('/', '\0') ? -1 : 1)),
    );
  });

  it('has no owners, times or modes of the host', async () => {
    for (const entry of await entries(folder(NAMES, 0o77, 2e9))) {
      expect(entry).toMatchObject({ uid: 0, gid: 0, mtime: 0 });
      const mode = { directory: 0o755, symlink: 0o777, file: entry.path === 'run.sh' ? 0o755 : 0o644 }[
        entry.type as 'file'
      ];
      expect(entry.mode).toBe(mode);
    }
  });

  it('makes the same archive for any folder, order, time and umask', async () => {
    const [one, two] = [folder(NAMES, 0o22, 1e9), folder([...NAMES].reverse(), 0o77, 1.7e9)];
    const [first, second] = [join(fresh(), 'archive'), join(fresh(), 'archive')];
    await writeCpio(fromDirectory(one, { prefix: 'app' }), first);
    await writeCpio(fromDirectory(two, { prefix: 'app' }), second);
    expect(readFileSync(first).equals(readFileSync(second))).toBe(true);
    expect(readFileSync(first).includes('content of run.sh')).toBe(true);
  });

  it('reads files and links', async () => {
    const list = await entries(folder(NAMES, 0, 1e9));
    const byPath = new Map(list.map((entry) => [entry.path, entry]));
    expect(byPath.get('a/link')).toMatchObject({ type: 'symlink', link: '../b.txt', size: 0 });
    expect(byPath.get('dangling')).toMatchObject({ link: '/nowhere' });
    const parts: Uint8Array[] = [];
    for await (const part of byPath.get('ü')?.open?.() ?? []) parts.push(part);
    expect(Buffer.concat(parts).toString()).toBe('content of ü');
    expect(byPath.get('ü')?.size).toBe(Buffer.byteLength('content of ü'));
  });

  it('puts paths below a prefix, without those that a filter excludes', async () => {
    const dir = folder(NAMES, 0o22, 1e9);
    const seen: string[] = [];
    const filter = (path: string): boolean => {
      seen.push(path);
      return path === 'a' || path === 'a/z' || path === 'ü';
    };
    const list = await entries(dir, { prefix: 'srv/app', filter });
    expect(list.map(({ path }) => path)).toEqual(['srv/app', 'srv/app/a', 'srv/app/a/z', 'srv/app/ü']);
    expect(seen).toContain('a/9');
    expect(await entries(dir, { filter: () => false })).toEqual([]);
  });

  it('does not follow a link to a folder', async () => {
    const dir = fresh();
    symlinkSync(folder(NAMES, 0, 1e9), join(dir, 'link'));
    expect(await entries(dir)).toMatchObject([{ path: 'link', type: 'symlink' }]);
  });

  it('refuses a socket by its path', async () => {
    const dir = fresh();
    const server = createServer().listen(join(dir, 's'));
    await once(server, 'listening');
    await expect(entries(dir)).rejects.toThrow(`${join(dir, 's')}: sockets, devices and pipes cannot go into an image`);
    await expect(writeCpio(fromDirectory(dir), join(fresh(), 'archive'))).rejects.toThrow('sockets, devices and pipes');
    server.close();
  });

  it('refuses a pipe instead of waiting for it', async () => {
    const dir = fresh();
    spawnSync('mkfifo', [join(dir, 'p')]);
    await expect(entries(dir)).rejects.toThrow('sockets, devices and pipes');
  });

  it('has names and targets that are no UTF-8, and opens such files', async () => {
    const dir = fresh();
    const at = (name: string): Buffer => Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(name, 'latin1')]);
    mkdirSync(at('ordn\xe9'));
    writeFileSync(at('ordn\xe9/dat\xff'), 'content');
    symlinkSync(Buffer.from('\xe9', 'latin1'), at('zlink'));
    const list = await entries(dir);
    expect(list.map(({ path }) => path)).toEqual(['ordn\udce9', 'ordn\udce9/dat\udcff', 'zlink']);
    expect(list[2]?.link).toBe('\udce9');
    const parts: Uint8Array[] = [];
    for await (const part of list[1]?.open?.() ?? []) parts.push(part);
    expect(Buffer.concat(parts).toString()).toBe('content');
  });

  it('is sorted by the bytes of its names', async () => {
    const dir = fresh();
    for (const name of ['\uff41', '😀', 'é']) writeFileSync(join(dir, name), '');
    expect((await entries(dir)).map(({ path }) => path)).toEqual(['é', '\uff41', '😀']);
  });

  it('says which files are the same one if it is asked to', async () => {
    const dir = fresh();
    mkdirSync(join(dir, 'b'));
    writeFileSync(join(dir, 'b/second'), 'x');
    linkSync(join(dir, 'b/second'), join(dir, 'c'));
    linkSync(join(dir, 'b/second'), join(dir, 'a'));
    writeFileSync(join(dir, 'd'), 'x');
    const links = (list: Entry[]): (string | undefined)[][] => list.map(({ path, hardLink }) => [path, hardLink]);
    expect(links(await entries(dir, { hardLinks: true, prefix: 'p' }))).toEqual([
      ['p', undefined],
      ['p/a', undefined],
      ['p/b', undefined],
      ['p/b/second', 'p/a'],
      ['p/c', 'p/a'],
      ['p/d', undefined],
    ]);
    const filter = (path: string): boolean => path !== 'a';
    expect(links(await entries(dir, { hardLinks: true, filter }))).toContainEqual(['c', 'b/second']);
    expect(links(await entries(dir)).every(([, link]) => link === undefined)).toBe(true);
  });

  it('opens contents from any byte', async () => {
    const dir = fresh();
    writeFileSync(join(dir, 'a'), '0123456789');
    for (const entry of [...(await entries(dir)), file('b', '0123456789')])
      for (const offset of [0, 3, 9, 10]) {
        const parts: Uint8Array[] = [];
        for await (const part of entry.open?.(offset) ?? []) parts.push(part);
        expect(Buffer.concat(parts).toString()).toBe('0123456789'.slice(offset));
      }
  });

  it('keeps modes and times if it is asked to', async () => {
    const dir = fresh();
    mkdirSync(join(dir, 'sub'), { mode: 0o750 });
    writeFileSync(join(dir, 'sub/a'), 'x');
    chmodSync(join(dir, 'sub/a'), 0o4711);
    utimesSync(join(dir, 'sub/a'), 1, 1.5);
    utimesSync(join(dir, 'sub'), 1, 1e9 + 0.25);
    const kept = await entries(dir, { keepsAttributes: true, prefix: 'p' });
    expect(kept.slice(1)).toMatchObject([
      { path: 'p/sub', mode: 0o750, uid: 0, mtime: 1e9, nanoseconds: 250_000_000 },
      { path: 'p/sub/a', mode: 0o4711, gid: 0, mtime: 1, nanoseconds: 500_000_000 },
    ]);
    expect(fromFile(join(dir, 'sub/a'), 'name', { keepsAttributes: true })).toMatchObject({
      path: 'name',
      mode: 0o4711,
    });
    expect(fromFile(join(dir, 'sub/a'), 'name')).toMatchObject({ mode: 0o755, mtime: 0 });
  });

  it('fails if the folder does not exist', async () => {
    await expect(entries(join(root, 'missing'))).rejects.toThrow('ENOENT');
  });
});
