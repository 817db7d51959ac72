/** nodeos store mount: as a user calls it, with the kernel and its filesystems as judges. */
import { execFile, execFileSync, spawn, type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeErofs } from '@nodeos/fs';
import { fromDirectory } from '@nodeos/tree';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { missing } from '../../fuse/test/helpers.js';
import { NODEOS, nodeosStore, type Result } from './command.js';

const TREE = join(import.meta.dirname, '../../..', 'docs');
let folder = '';
let count = 0;
let at = '';

const nodeos = (...args: string[]): Promise<Result> => nodeosStore(folder, ...args);

/** Mounts in the background. */
async function mounting(
  ...args: string[]
): Promise<{ child: ChildProcess; said: () => string; ended: Promise<unknown[]> }> {
  const child = spawn(process.execPath, [NODEOS, 'store', 'mount', ...args], { cwd: folder });
  let said = '';
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  const ended = once(child, 'close');
  await Promise.race([once(child.stdout, 'data'), ended]);
  return { child, said: () => said, ended };
}

const isMounted = async (): Promise<boolean> => (await readFile('/proc/self/mountinfo', 'utf8')).includes(` ${at} `);

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isTrue()); tries++) {
    if (tries === 100) throw new Error('it does not happen');
    await sleep(50);
  }
}

describe.skipIf(missing !== undefined)(`store mount${missing ? ` (${missing})` : ''}`, () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nodeos-mount-cli-'));
    await writeErofs(fromDirectory(TREE), join(folder, 'tree.erofs'));
    execFileSync('mke2fs', ['-q', '-t', 'ext4', join(folder, 'disk.img'), '32M']);
    for (const [file, image] of [
      ['tree.erofs', 'tree'],
      ['disk.img', 'disk'],
    ] as const)
      expect((await nodeos('push', file, `store:${image}`)).status).toBe(0);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  beforeEach(async () => {
    at = join(folder, `at-${count++}`);
    await mkdir(at);
  });

  test('a command finds each image as a file of its own, with its bytes, and nothing is left behind', async () => {
    const script =
      'ls "$NODEOS_MOUNT"; cmp tree.erofs "$NODEOS_MOUNT/tree.img"; cmp disk.img "$NODEOS_MOUNT/second"; exit 7';
    const done = await nodeos('mount', 'store:tree', 'second=store:disk', at, '--', 'sh', '-c', script);
    expect(done).toEqual({ status: 7, stdout: 'second\ntree.img\n', stderr: '' });
    expect(await isMounted()).toBe(false);
    expect(await readdir(at)).toEqual([]);
  });

  test('the kernel mounts the image from the file, and the tree is the one that it was made of', async () => {
    const on = join(folder, 'on');
    await mkdir(on);
    // Without a loop device where the kernel can (Linux 6.12), else with one.
    const script = `import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
image, on = os.environ['NODEOS_MOUNT'] + '/tree.img', '${on}'
if libc.mount(image.encode(), on.encode(), b'erofs', 1, b'') != 0:
    subprocess.run(['mount', '-t', 'erofs', '-o', 'loop,ro', image, on], check=True)
try: subprocess.run(['diff', '-r', '--no-dereference', '${TREE}', on], check=True)
finally: subprocess.run(['umount', on], check=True)`;
    expect(await nodeos('mount', 'store:tree', at, '--', 'python3', '-c', script)).toMatchObject({ status: 0 });
  });

  test('what is written goes to the overlay, and becomes a new image', async () => {
    const script = `printf overlay | dd of=${at}/disk.img bs=1 seek=1048576 conv=notrunc,fsync status=none`;
    const done = await nodeos('mount', 'store:disk', at, '--overlay', 'changes', '--', 'sh', '-c', script);
    expect(done).toMatchObject({ status: 0, stderr: '' });
    expect((await nodeos('commit', 'store:disk', 'changes', 'tuned')).status).toBe(0);
    expect((await nodeos('pull', 'store:tuned', 'tuned.img')).status).toBe(0);
    const [old, tuned] = [await readFile(join(folder, 'disk.img')), await readFile(join(folder, 'tuned.img'))];
    old.write('overlay', 1 << 20);
    expect(tuned.equals(old)).toBe(true);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s unmounts', async (signal) => {
    const { child, ended, said } = await mounting('store:tree', at);
    await until(() => Promise.resolve(/tree\.img is store:tree: .*, read-only/.test(said())));
    child.kill(signal);
    const [status] = await ended;
    expect(status).toBe({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal]);
    expect(await isMounted()).toBe(false);
  });

  test('a process that is killed leaves no mount behind', async () => {
    const { child, ended } = await mounting('store:tree', at);
    child.kill('SIGKILL');
    await ended;
    await until(async () => !(await isMounted()));
    expect(await readdir(at)).toEqual([]);
  });

  test('a mount whose server and its guard were killed is named by the next one, with what takes it away', async () => {
    const { child, ended } = await mounting('store:tree', at);
    for (const pid of [...(await childrenOf(child.pid)), Number(child.pid)]) process.kill(pid, 'SIGKILL');
    await ended;
    expect(await isMounted()).toBe(true);
    const again = await nodeos('mount', 'store:tree', at);
    expect([again.status, again.stderr]).toEqual([1, expect.stringMatching(/was killed; umount -l \S+/)]);
    execFileSync('umount', ['-l', at]);
    expect((await nodeos('mount', 'store:tree', at, '--', 'true')).status).toBe(0);
  });

  test('a file that is in use is served after the first Ctrl-C, and no more after the second', async () => {
    const { child, ended, said } = await mounting('store:disk', at);
    const user = spawn('sh', ['-c', 'exec 9<disk.img; echo open; read -r _; head -c 100 <&9 | wc -c'], { cwd: at });
    await once(user.stdout, 'data');
    child.kill('SIGINT');
    await until(() => Promise.resolve(/somebody still uses a file/.test(said())));
    expect(await isMounted()).toBe(false);
    user.stdin.write('\n');
    expect(String((await once(user.stdout, 'data'))[0])).toBe('100\n');
    const other = join(folder, `at-${count++}`);
    await mkdir(other);
    const second = await mounting('store:disk', other);
    const holder = spawn('sleep', ['60'], { cwd: other });
    await once(holder, 'spawn');
    second.child.kill('SIGINT');
    await until(() => Promise.resolve(/somebody still uses a file/.test(second.said())));
    await sleep(600); // two signals at once count as one
    second.child.kill('SIGINT');
    expect((await second.ended)[0]).toBe(130);
    holder.kill();
    await ended;
  });

  test('umount ends it', async () => {
    const { ended } = await mounting('store:tree', at, '--json');
    execFileSync('umount', [at]);
    expect((await ended)[0]).toBe(0);
  });

  test('whoever is not root mounts with fusermount3, or is told about it', async ({ skip }) => {
    const own = join(folder, 'own');
    await mkdir(own);
    await chown(own, 65_534, 65_534);
    await chmod(folder, 0o755);
    const as = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, NODEOS, 'store', 'mount'];
    const run = (path: string): Promise<Result> =>
      new Promise((resolve) => {
        const args = [...as, 'store:tree', own, '--', 'cmp', 'tree.erofs', `${own}/tree.img`];
        execFile('/usr/bin/setpriv', args, { cwd: folder, env: { PATH: path, HOME: own } }, (error, stdout, stderr) =>
          resolve({ status: error ? Number(error.code) : 0, stdout, stderr }),
        );
      });
    const canRead = [...as.slice(0, 3), 'test', '-r', NODEOS];
    if (spawnSync('/usr/bin/setpriv', canRead).status !== 0) skip('only the owner of this folder can enter it');
    expect((await run('/nowhere')).stderr).toMatch(/only root may\n.*fusermount3 does it for others/);
    if (!existsSync('/usr/bin/fusermount3')) skip('fusermount3 is not here (apt-get install fuse3)');
    if (((await stat('/dev/fuse')).mode & 0o006) !== 0o006) skip('/dev/fuse is for root only here');
    expect(await run('/usr/bin:/bin')).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  test.each([
    [['mount', 'store:tree'], 2, /an image or the folder is missing/],
    [['mount', 'store:tree', 'store:tree', 'X'], 2, /two images are called tree/],
    [['mount', 'store:none', 'X'], 1, /has no image "none"/],
    [['mount', 'store:tree', 'none'], 1, /cannot mount on none: ENOENT.*\n.*mkdir none/],
    [['mount', 'store:tree', 'disk.img'], 1, /disk\.img: not a folder/],
    [['mount', 'store:tree', 'X', '--overlay', 'each'], 2, /a file has no connections/],
    [['mount', 'store:tree', 'store:disk', 'X', '--overlay', 'f'], 2, /only with one image/],
    [['mount', 'store:tree', 'X', '--', '/no/such/program'], 1, /no\/such\/program/],
  ])('%j', async (args, status, message) => {
    const found = await nodeos(...args.map((word) => (word === 'X' ? at : word)));
    expect([found.status, found.stderr]).toEqual([status, expect.stringMatching(message)]);
    expect(await isMounted()).toBe(false);
  });
});

async function childrenOf(pid: number | undefined): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.trim().split(' ').map(Number);
}
