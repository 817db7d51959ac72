/** Every writable filesystem does what `node:fs` does on the host: the same calls, the same results, the same tree. */
import * as host from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import fc from 'fast-check';
import { open, type FsPromises } from '@nodeos/linuxfs';
import { beforeAll, describe, expect, it } from 'vitest';
import { LONG, temporary } from '../support.js';
import { builtKernel, checked, emptyDisk, filesystemOf, WRITABLE } from './disks.js';

let kernel: string;
beforeAll(async () => void (kernel = await builtKernel()), LONG);

/** The calls of the model, each with what it takes. Names are few, so that calls meet. */
const path = fc.array(fc.constantFrom('a', 'b', 'ö'), { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const data = fc
  .tuple(fc.constantFrom(0, 1, 5000, 20_000, 1_100_000), fc.integer({ min: 0, max: 255 }))
  .map(([length, byte]) => Buffer.alloc(length, byte));
const call = fc.oneof(
  fc.record({ op: fc.constant('writeFile' as const), path, data }),
  fc.record({ op: fc.constant('appendFile' as const), path, data }),
  fc.record({ op: fc.constant('readFile' as const), path }),
  fc.record({ op: fc.constant('mkdir' as const), path, recursive: fc.boolean() }),
  fc.record({ op: fc.constant('readdir' as const), path, recursive: fc.boolean() }),
  fc.record({ op: fc.constant('rmdir' as const), path }),
  fc.record({ op: fc.constant('unlink' as const), path }),
  fc.record({ op: fc.constant('rm' as const), path, force: fc.boolean(), recursive: fc.boolean() }),
  fc.record({ op: fc.constant('rename' as const), path, to: path }),
  fc.record({ op: fc.constant('copyFile' as const), path, to: path }),
  fc.record({ op: fc.constant('truncate' as const), path, size: fc.constantFrom(0, 3, 70_000) }),
  fc.record({ op: fc.constant('stat' as const), path }),
  fc.record({ op: fc.constant('access' as const), path }),
  fc.record({ op: fc.constant('handle' as const), path, data, at: fc.constantFrom(0, 10, 40_000) }),
);
const unixCall = fc.oneof(
  { arbitrary: call, weight: 5 },
  fc.record({ op: fc.constant('symlink' as const), path, to: fc.constantFrom('a', 'b', '../a', 'nowhere') }),
  fc.record({ op: fc.constant('readlink' as const), path }),
  fc.record({ op: fc.constant('link' as const), path, to: path }),
  fc.record({ op: fc.constant('chmod' as const), path, mode: fc.constantFrom(0o600, 0o755, 0o4711) }),
  fc.record({ op: fc.constant('utimes' as const), path, at: fc.constantFrom(0, 1.5, 1e9) }),
  fc.record({ op: fc.constant('lstat' as const), path }),
  fc.record({ op: fc.constant('cp' as const), path, to: path, recursive: fc.boolean() }),
);
type Call = typeof unixCall extends fc.Arbitrary<infer T> ? T : never;

type Promises = Pick<FsPromises, 'open' | 'readFile' | 'writeFile'> & typeof host;

interface Facts {
  readonly mode: number;
  readonly size: number;
  readonly nlink: number;
  isDirectory(): boolean;
  isFile(): boolean;
}

/**
 * What is compared of them. Filesystems count a folder's links and bytes in their own ways, FAT has one mode for all, and an
 * absolute link is as long as its path.
 */
const stats = (found: Facts, isUnix: boolean): object => ({
  isDirectory: found.isDirectory(),
  ...(isUnix ? { mode: found.mode } : {}),
  ...(found.isDirectory() ? {} : { links: found.nlink }),
  ...(found.isFile() ? { size: found.size } : {}),
});

/** Does a call with one of the two; paths are below `root`. */
async function perform(fs: Promises, root: string, one: Call, isUnix: boolean): Promise<unknown> {
  const at = join(root, one.path);
  const to = 'to' in one ? join(root, one.to) : '';
  switch (one.op) {
    case 'writeFile':
    case 'appendFile':
      return fs[one.op](at, one.data);
    case 'readFile':
      return (await fs.readFile(at)).toString('latin1');
    case 'mkdir':
      return (await fs.mkdir(at, { recursive: one.recursive }))?.slice(root.length);
    case 'readdir':
      return namesBelow(at, await fs.readdir(at, { recursive: one.recursive, withFileTypes: true }));
    case 'rm':
      return fs.rm(at, { force: one.force, recursive: one.recursive });
    case 'rename':
    case 'copyFile':
    case 'link':
      return fs[one.op](at, to);
    case 'cp':
      return copyOrNothing(fs, at, to, one.recursive);
    case 'readlink':
      return (await fs.readlink(at)).replace(dirname(root), '');
    case 'truncate':
      return fs.truncate(at, one.size);
    case 'stat':
    case 'lstat':
      return stats(await fs[one.op](at), isUnix);
    case 'symlink':
      return fs.symlink(one.to, at);
    case 'chmod':
      await fs.chmod(at, one.mode);
      return (await fs.stat(at)).mode & 0o7777;
    case 'utimes':
      await fs.utimes(at, one.at, one.at);
      return (await fs.stat(at)).mtimeMs;
    case 'handle':
      return withHandle(fs, at, one);
    default:
      return fs[one.op](at);
  }
}

/** Without file types, the `readdir` of Node.js follows symbolic links to folders, and ours does not. */
const namesBelow = (root: string, found: readonly { name: string; parentPath: string }[]): string[] =>
  found.map(({ name, parentPath }) => relative(root, join(parentPath, name))).sort();

/** What a copy has done before it fails depends on the order of names in a folder. */
async function copyOrNothing(fs: Promises, from: string, to: string, recursive: boolean): Promise<void> {
  try {
    await fs.cp(from, to, { recursive });
  } catch (error) {
    if (recursive) await fs.rm(to, { recursive, force: true }).catch(() => undefined);
    throw error;
  }
}

/** Node.js makes such a copy until names are too long. */
async function copiesIntoItself(root: string, one: Call): Promise<boolean> {
  if (one.op !== 'cp') return false;
  const source = await host.stat(join(root, one.path)).catch(() => undefined);
  for (let above = dirname(join(root, one.to)); source?.isDirectory() && above !== '/'; above = dirname(above)) {
    const real = await host.realpath(above).catch(() => undefined);
    for (let folder = real ?? '/'; folder !== '/'; folder = dirname(folder))
      if ((await host.stat(folder)).ino === source.ino) return true;
  }
  return false;
}

async function withHandle(fs: Promises, at: string, one: { data: Buffer; at: number }): Promise<unknown> {
  const handle = await fs.open(at, 'r+');
  try {
    const { bytesWritten } = await handle.write(one.data, 0, one.data.length, one.at);
    const into = Buffer.alloc(100);
    const { bytesRead } = await handle.read(into, 0, 100, Math.max(0, one.at - 5));
    return { bytesWritten, bytesRead, bytes: into.toString('latin1') };
  } finally {
    await handle.close();
  }
}

const textOf = (calls: readonly Call[]): string =>
  calls.map((one) => JSON.stringify({ ...one, ...('data' in one ? { data: one.data.length } : {}) })).join('\n');

/** XFS has the first for a folder that would be replaced, the others the second; rename(2) allows both. */
const NOT_EMPTY: readonly string[] = ['EEXIST', 'ENOTEMPTY'];

/**
 * What a call gave, or its error, whose message has paths below `root`. `cp` of Node.js looks at both paths at once, and
 * reports what fails first.
 */
async function outcome(fs: Promises, root: string, one: Call, isUnix: boolean): Promise<unknown> {
  try {
    return await perform(fs, root, one, isUnix);
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    if (one.op === 'cp') return code.startsWith('ERR_') ? code : 'an error of the system';
    if (one.op === 'rename' && NOT_EMPTY.includes(code)) return NOT_EMPTY;
    return { code, message: message.replaceAll(root, '') };
  }
}

/** All that is below a folder, with content. */
async function treeOf(fs: Promises, root: string, isUnix: boolean): Promise<Record<string, unknown>> {
  const tree: Record<string, unknown> = {};
  for (const name of namesBelow(root, await fs.readdir(root, { recursive: true, withFileTypes: true }))) {
    const found = await fs.lstat(join(root, name));
    const content = found.isFile()
      ? (await fs.readFile(join(root, name))).toString('latin1')
      : found.isSymbolicLink() && (await fs.readlink(join(root, name))).replace(root, '');
    tree[name] = { ...stats(found, isUnix), content };
  }
  return tree;
}

describe.each(Object.keys(WRITABLE))('%s', (type) => {
  it('does what node:fs does, call by call, and is sound afterwards', { timeout: 300_000 }, async () => {
    const folder = await temporary();
    const image = emptyDisk(folder, type);
    const disk = await open(image, { kernel });
    const mounted = await disk.mount();
    const fs = mounted.promises as unknown as Promises;
    const { isUnix } = filesystemOf(type);
    const calls = isUnix ? unixCall : (call as fc.Arbitrary<Call>);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(calls, { minLength: 30, maxLength: 60 }), async (all) => {
        // Links lead out of the folder of the calls, but not out of that of the run.
        const [modelTop, top] = [join(folder, `model${run}`), `/run${run}`];
        const [model, root] = [join(modelTop, 'in'), join(top, 'in')];
        run++;
        await Promise.all([host.mkdir(model, { recursive: true }), fs.mkdir(root, { recursive: true })]);
        for (const one of all) {
          if (await copiesIntoItself(model, one)) continue;
          const [expected, got] = [
            await outcome(host as never, model, one, isUnix),
            await outcome(fs, root, one, isUnix),
          ];
          expect(got, textOf(all.slice(0, all.indexOf(one) + 1))).toEqual(expected);
        }
        expect(await treeOf(fs, top, isUnix), textOf(all)).toEqual(await treeOf(host as never, modelTop, isUnix));
        await Promise.all([host.rm(modelTop, { recursive: true }), fs.rm(top, { recursive: true })]);
      }),
      { numRuns: 150, endOnFailure: true },
    );
    await disk.close();
    const { status, said } = checked(image, type);
    expect(status, said).toBe(0);
  });
});
