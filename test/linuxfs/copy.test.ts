/** `cp` and `copyFile` do what those of `node:fs` do on the host, and lose nothing where those refuse. */
import * as host from 'node:fs/promises';
import { join } from 'node:path';
import { open, type FsPromises, type MountedFilesystem } from '@nodeos/linuxfs';
import { beforeAll, expect, it } from 'vitest';
import { LONG, temporary } from '../support.js';
import { builtKernel, checked, emptyDisk } from './disks.js';

let kernel: string;
beforeAll(async () => void (kernel = await builtKernel()), LONG);

type Promises = Pick<FsPromises, 'cp' | 'copyFile' | 'utimes'> & typeof host;
type Options = NonNullable<Parameters<typeof host.cp>[2]>;

/** What is there before each case. */
async function prepare(fs: Promises, root: string): Promise<void> {
  await fs.mkdir(join(root, 'folder/sub'), { recursive: true });
  await fs.writeFile(join(root, 'file'), 'of the file', { mode: 0o640 });
  await fs.writeFile(join(root, 'other'), 'of the other', { mode: 0o600 });
  await fs.writeFile(join(root, 'folder/inner'), 'inner', { mode: 0o755 });
  await fs.writeFile(join(root, 'folder/skipped'), 'skipped');
  await fs.link(join(root, 'file'), join(root, 'hard'));
  await fs.symlink('file', join(root, 'to-file'));
  await fs.symlink('folder', join(root, 'to-folder'));
  await fs.symlink('folder/sub', join(root, 'to-sub'));
  await fs.symlink('../folder', join(root, 'folder/up'));
  await fs.symlink('nowhere', join(root, 'to-nothing'));
  await fs.symlink(`${root}/folder/../file`, join(root, 'absolute'));
  await fs.utimes(join(root, 'file'), 1e9, 1e9);
}

const filter = (source: string): boolean => !source.endsWith('skipped');

const CASES: readonly (readonly [from: string, to: string, options?: Options])[] = [
  ['file', 'new'],
  ['file', 'a/b/new'],
  ['file', 'other'],
  ['file', 'file'],
  ['file', 'hard'],
  ['file', 'folder'],
  ['file', 'to-file'],
  ['file', 'other', { force: false }],
  ['file', 'other', { force: false, errorOnExist: true }],
  ['file', 'other', { errorOnExist: true }],
  ['file', 'new', { preserveTimestamps: true }],
  ['file', 'file/below'],
  ['missing', 'new'],
  ['folder', 'new'],
  ['folder', 'new', { recursive: true }],
  ['folder', 'new', { recursive: true, filter }],
  ['folder', 'new', { recursive: true, verbatimSymlinks: true }],
  ['folder/inner', 'new', { dereference: true }],
  ['folder', 'folder', { recursive: true }],
  ['folder', 'folder/sub/new', { recursive: true }],
  ['folder', 'file', { recursive: true }],
  ['to-file', 'new'],
  ['to-file', 'new', { verbatimSymlinks: true }],
  ['to-file', 'new', { dereference: true }],
  ['to-file', 'new', { dereference: true, verbatimSymlinks: true }],
  ['to-file', 'file'],
  ['to-file', 'to-nothing'],
  ['to-sub', 'to-folder'],
  ['to-folder', 'to-sub'],
  ['to-nothing', 'new'],
  ['absolute', 'new'],
  ['file', 'other', { mode: -1 }],
  ['file', 'other', { mode: 8 }],
  ['folder', 'new', { recursive: 1 as never }],
];

const COPY_FILES: readonly (readonly [from: string, to: string, mode?: number])[] = [
  ['file', 'new'],
  ['file', 'other'],
  ['file', 'other', host.constants.COPYFILE_EXCL],
  ['file', 'hard'],
  ['file', 'to-file'],
  ['to-file', 'other'],
  ['folder', 'other'],
  ['folder', 'to-file'],
  ['folder', 'new'],
  ['file', 'folder'],
  ['missing', 'new'],
  ['file', 'missing/new'],
];

/** What a call gave, and all that is there then. */
async function outcome(fs: Promises, root: string, call: () => Promise<void>): Promise<unknown> {
  const error = await call().then(
    () => undefined,
    (thrown: unknown) => thrown as Error & { code: string },
  );
  const tree: Record<string, unknown> = {};
  for (const found of await fs.readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(found.parentPath, found.name);
    const { mode, nlink, mtimeMs } = await fs.lstat(path);
    const content = found.isSymbolicLink()
      ? (await fs.readlink(path)).replace(root, '')
      : found.isFile() && (await fs.readFile(path, 'utf8'));
    const isOld = mtimeMs < Date.now() - 1e6;
    tree[path.slice(root.length)] = [mode, content, found.isDirectory() ? undefined : nlink, isOld];
  }
  return { error: error && [error.code, error.message.replaceAll(root, '')], tree };
}

it('does with each pair of paths what node:fs does', { timeout: LONG }, async () => {
  const folder = await temporary();
  const image = emptyDisk(folder, 'ext4');
  const disk = await open(image, { kernel });
  const fs = (await disk.mount()).promises as unknown as Promises;
  const calls = [
    ...CASES.map(([from, to, options]) => ({
      name: `cp ${from} ${to} ${JSON.stringify(options ?? {})}`,
      of: (one: Promises, root: string) => one.cp(join(root, from), join(root, to), options),
    })),
    ...COPY_FILES.map(([from, to, mode]) => ({
      name: `copyFile ${from} ${to} ${mode ?? ''}`,
      of: (one: Promises, root: string) => one.copyFile(join(root, from), join(root, to), mode),
    })),
  ];
  for (const [index, { name, of }] of calls.entries()) {
    const [model, root] = [join(folder, `model${index}`), `/case${index}`];
    await prepare(host as never, model);
    await prepare(fs, root);
    const expected = await outcome(host as never, model, () => of(host as never, model));
    expect(await outcome(fs, root, () => of(fs, root)), name).toEqual(expected);
  }
  await disk.close();
  expect(checked(image, 'ext4')).toMatchObject({ status: 0 });
});

it('copies no folder into itself through a link, which node:fs does until names are too long', async () => {
  const disk = await open(emptyDisk(await temporary(), 'ext4'), { kernel });
  const fs = (await disk.mount()).promises as unknown as Promises;
  await prepare(fs, '/');
  await fs.mkdir('/elsewhere');
  await fs.symlink('/folder/sub', '/elsewhere/sub');
  const refused = { code: 'ERR_FS_CP_EINVAL', errno: 22 };
  for (const to of ['/to-sub/new', '/to-sub/a/b/new', '/to-folder/new', '/to-sub/'])
    await expect(fs.cp('/folder', to, { recursive: true }), to).rejects.toMatchObject(refused);
  for (const [from, to] of [
    ['/folder', '/to-sub'] as const,
    ['/', '/new'] as const,
    ['/folder', '/elsewhere/sub'] as const,
  ])
    await expect(fs.cp(from, to, { recursive: true, dereference: true })).rejects.toMatchObject(refused);
  expect(await fs.readdir('/folder/sub')).toEqual([]);
  await disk.close();
});

it('copies no pipes, sockets and devices, and says so', async () => {
  const image = emptyDisk(await temporary(), 'ext4');
  const disk = await open(image, { kernel });
  const { promises, volume } = await disk.mount();
  const types = { ERR_FS_CP_FIFO_PIPE: 0o010644, ERR_FS_CP_SOCKET: 0o140644, ERR_FS_CP_UNKNOWN: 0o020644 };
  for (const [code, mode] of Object.entries(types)) {
    await volume.mknod(`/${code}`, mode, [1, 3]);
    await expect(promises.cp(`/${code}`, '/new')).rejects.toMatchObject({ code, syscall: 'cp', path: '/new' });
  }
  await disk.close();
  expect(checked(image, 'ext4')).toMatchObject({ status: 0 });
});

/** Makes subvolumes of btrfs in the root. */
async function subvolumes({ volume }: MountedFilesystem, ...names: string[]): Promise<void> {
  const root = await volume.open('/', 0, 0);
  for (const name of names) {
    const args = Buffer.alloc(4096); // struct btrfs_ioctl_vol_args
    args.write(name, 8);
    await volume.ioctl(root, 0x5000940e, args);
  }
  await volume.close(root);
}

it('copies between subvolumes of btrfs, whose files have the same numbers', async () => {
  const image = emptyDisk(await temporary(), 'btrfs');
  const disk = await open(image, { kernel });
  const mounted = await disk.mount();
  const { promises } = mounted;
  await subvolumes(mounted, 'one', 'two', 'three');
  await promises.writeFile('/one/file', 'of one');
  await promises.copyFile('/one/file', '/two/file');
  await promises.cp('/one', '/three', { recursive: true });
  const [one, two] = [await promises.stat('/one/file'), await promises.stat('/two/file')];
  expect(two.ino).toBe(one.ino);
  expect(await promises.readFile('/two/file', 'utf8')).toBe('of one');
  expect(await promises.readFile('/three/file', 'utf8')).toBe('of one');
  await disk.close();
  expect(checked(image, 'btrfs')).toMatchObject({ status: 0 });
});

it('takes files of two subvolumes with the same number for two, as entries of a tree', async () => {
  const disk = await open(emptyDisk(await temporary(), 'btrfs'), { kernel });
  const mounted = await disk.mount();
  await subvolumes(mounted, 'one', 'two');
  for (const name of ['one', 'two']) {
    await mounted.promises.writeFile(`/${name}/a`, `of ${name}`);
    await mounted.promises.link(`/${name}/a`, `/${name}/b`);
  }
  const links: Record<string, string> = {};
  for await (const { path, type, hardLink } of mounted.toTree())
    if (type === 'file') links[path] = hardLink ?? 'itself';
  expect(links).toEqual({ 'one/a': 'itself', 'one/b': 'one/a', 'two/a': 'itself', 'two/b': 'two/a' });
  await disk.close();
});

it('says what failed: a NUL in a name, a kernel that ended, a size that no file has', async () => {
  const disk = await open(emptyDisk(await temporary(), 'ext4'), { kernel });
  const { promises } = await disk.mount();
  await promises.writeFile('/file', 'content');
  await expect(promises.copyFile('/file', '/a\0b')).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  await expect(promises.truncate('/file', 2 ** 45)).rejects.toThrow('EFBIG: file too large, ftruncate');
  await expect(promises.copyFile('/file', '/new', 8)).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
  disk.kill();
  await expect(promises.copyFile('/file', '/new')).rejects.toMatchObject({
    message: "EIO: i/o error, copyfile '/file' -> '/new'",
    cause: { message: expect.stringMatching(/the kernel ended \(SIGKILL\)/) as string },
  });
  await expect(disk.close()).rejects.toMatchObject({ code: 'EIO' });
});
