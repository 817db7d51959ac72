/** Every writable filesystem does what `node:fs` does on the host: the same calls, the same results, the same tree. */
import * as host from 'node:fs/promises';
import { join, relative } from 'node:path';
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
);
type Call = typeof unixCall extends fc.Arbitrary<infer T> ? T : never;

type Promises = Pick<FsPromises, 'open' | 'readFile' | 'writeFile'> & typeof host;

const stats = (s: { isFile(): boolean; isDirectory(): boolean; size: number; mode: number; nlink: number }): object =>
  s.isDirectory() ? { isDirectory: true } : { isFile: s.isFile(), size: s.size, links: s.nlink };

/** Does a call with one of the two; paths are below `root`. */
async function perform(fs: Promises, root: string, one: Call): Promise<unknown> {
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
    case 'truncate':
      return fs.truncate(at, one.size);
    case 'stat':
    case 'lstat':
      return stats(await fs[one.op](at));
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

/** What a call gave, or the code of its error. */
const outcome = async (work: Promise<unknown>): Promise<unknown> =>
  work.catch((error: unknown) => ({ code: (error as { code: string }).code }));

/** All that is below a folder, with content. */
async function treeOf(fs: Promises, root: string): Promise<Record<string, unknown>> {
  const tree: Record<string, unknown> = {};
  for (const name of namesBelow(root, await fs.readdir(root, { recursive: true, withFileTypes: true }))) {
    const found = await fs.lstat(join(root, name));
    if (found.isFile()) tree[name] = (await fs.readFile(join(root, name))).toString('latin1');
    else tree[name] = found.isSymbolicLink() ? { to: await fs.readlink(join(root, name)) } : 'folder';
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
    const calls = filesystemOf(type).isUnix ? unixCall : (call as fc.Arbitrary<Call>);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(calls, { minLength: 30, maxLength: 60 }), async (all) => {
        const [model, root] = [join(folder, `model${run}`), `/run${run}`];
        run++;
        await Promise.all([host.mkdir(model), fs.mkdir(root)]);
        for (const one of all) {
          const [expected, got] = [
            await outcome(perform(host as never, model, one)),
            await outcome(perform(fs, root, one)),
          ];
          expect(got, textOf(all.slice(0, all.indexOf(one) + 1))).toEqual(expected);
        }
        expect(await treeOf(fs, root)).toEqual(await treeOf(host as never, model));
      }),
      { numRuns: 15, endOnFailure: true },
    );
    await disk.close();
    const { status, said } = checked(image, type);
    expect(status, said).toBe(0);
  });
});
