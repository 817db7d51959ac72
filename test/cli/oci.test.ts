/** nodeos oci: images from a registry, and what other programs read in the filesystems that are made of them. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { layoutOf, tarOf, type Member } from '../../packages/oci/test/images.js';
import { startRegistry, type Registry } from '../../packages/remote/test/registry.js';
import { nodeos, start, temporary } from '../support.js';

const run = promisify(execFile);
const T = 1_000_000_000;

/** What tar2sqfs, given the layers, keeps or fails at: a whiteout, a hard link into a lower layer, a file that becomes a folder. */
const LAYERS: readonly (readonly Member[])[] = [
  [
    { path: './', mtime: T },
    { path: 'etc/', mtime: T },
    { path: 'etc/secret', content: 'secret', mtime: T },
    { path: 'etc/a "name" <5>', content: 'quoted', mtime: T },
    { path: 'big', content: 'b'.repeat(300_000), mtime: T, uid: 7, gid: 8, mode: 0o640 },
    { path: 'thing', content: 'a file', mtime: T },
    { path: 'dev/', mtime: T },
    { path: 'dev/null', kind: '3', rdev: [1, 3], mode: 0o666, mtime: T },
    { path: 'link', kind: '2', link: 'etc', mtime: T },
  ],
  [
    { path: 'etc/.wh.secret' },
    { path: 'hard', kind: '1', link: 'big', mtime: T },
    { path: 'thing/', mtime: T },
    { path: 'thing/inside', content: 'a folder now', mtime: T },
  ],
];

let registry: Registry;
let root = '';
let image = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'nodeos-oci-'));
  await mkdir(join(root, 'registry'));
  registry = await startRegistry(join(root, 'registry'));
  const layout = await layoutOf(join(root, 'layout'), LAYERS.map(tarOf), {
    config: { Cmd: ['/bin/sh', '-c', 'a b'], ExposedPorts: { '80/tcp': {} } },
  });
  image = `docker://${registry.host}/team/app:1`;
  await run('skopeo', [
    'copy',
    '--quiet',
    '--insecure-policy',
    '--dest-tls-verify=false',
    `oci:${layout}:latest`,
    image,
  ]);
});
afterAll(async () => {
  await registry.close();
  await rm(root, { recursive: true, force: true });
});

describe('nodeos oci', () => {
  it('copies an image to a registry and back, with the same digest, which skopeo sees too', async () => {
    const { stdout: digest } = await nodeos('oci', 'pull', image);
    const folder = join(await temporary(), 'copy');
    expect((await nodeos('oci', 'copy', image, `oci:${folder}:one`)).stdout.trim()).toBe(digest.split(' ')[0]);
    expect((await nodeos('oci', 'copy', image, `oci:${folder}:two`)).status).toBe(0);
    const pushed = `docker://${registry.host}/other/app:2`;
    expect((await nodeos('oci', 'copy', `oci:${folder}:two`, pushed)).status).toBe(0);
    for (const name of [image, pushed, `oci:${folder}:one`, `oci:${folder}:two`]) {
      const { stdout } = await run('skopeo', ['inspect', '--tls-verify=false', '--format', '{{.Digest}}', name]);
      expect(stdout.trim()).toBe(digest.split(' ')[0]);
    }
  });

  it('copies an image to an archive, which skopeo copies on', async () => {
    const folder = await temporary();
    expect((await nodeos('oci', 'copy', image, `oci-archive:${folder}/app.tar:app`)).status).toBe(0);
    await run('skopeo', [
      'copy',
      '--insecure-policy',
      '--quiet',
      `oci-archive:${folder}/app.tar`,
      `docker-archive:${folder}/docker.tar:app:1`,
    ]);
    const [ours, theirs] = [
      await nodeos('oci', 'ls', image),
      await nodeos('oci', 'ls', `docker-archive:${folder}/docker.tar`),
    ];
    expect(theirs.stdout).toBe(ours.stdout);
    expect(ours.stdout).toContain('-0640 7:8      300000 2001-09-09 01:46 hard = big\n');
  });

  it('says what an image is, as text and as JSON', async () => {
    const text = await nodeos('oci', 'inspect', image);
    expect(text.stdout).toMatch(/^ {2}platform {2}linux\/amd64$/m);
    expect(text.stdout).toMatch(/^ {2}command {3}\/bin\/sh -c "a b"$/m);
    const json = JSON.parse((await nodeos('oci', 'inspect', image, '--json')).stdout) as { layers: unknown[] };
    expect(json).toMatchObject({ name: image, platform: 'linux/amd64', config: { ExposedPorts: ['80/tcp'] } });
    expect(json.layers).toHaveLength(2);
  });

  it('says what is wrong', async () => {
    expect(await nodeos('oci', 'pull', 'debian')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/expected docker:\/\/debian:12/) as string,
    });
    const none = await nodeos('oci', 'pull', `docker://${registry.host}/none:1`);
    expect(none).toMatchObject({ status: 1, stderr: expect.stringMatching(/has no 1/) as string });
    expect(await nodeos('oci', 'image', image, '--format', 'zip')).toMatchObject({ status: 2 });
    expect(await nodeos('oci', 'image', image, '--add', '/none')).toMatchObject({ status: 2 });
  });
});

/** What another program lists in a file of each format, as `NAME` lines with what all of them can say. */
const READERS: Readonly<Record<string, (path: string, folder: string) => Promise<unknown>>> = {
  erofs: (path, folder) => run('fsck.erofs', [`--extract=${folder}`, path]),
  tar: (path, folder) => run('tar', ['-xpf', path, '-C', folder]),
  cpio: (path, folder) => run('sh', ['-c', `cd "${folder}" && cpio -idm --quiet < "${path}"`]),
  squashfs: (path, folder) => run('unsquashfs', ['-f', '-d', folder, path]),
  ext4: async (path, folder) => {
    await run('/usr/sbin/e2fsck', ['-fn', path]);
    await run('/usr/sbin/debugfs', ['-R', `rdump / ${folder}`, path]);
    // That folder is of every ext4.
    await run('rmdir', [join(folder, 'lost+found')]);
  },
};

async function unpacked(root: string): Promise<string[]> {
  const { stdout } = await run('find', [root, '-mindepth', '1', '-printf', '%P %y %m %U:%G %n\n']);
  return stdout.trim().split('\n').sort();
}

describe.runIf(process.getuid?.() === 0)('nodeos oci image', () => {
  const EXPECTED = [
    'added d 755 0:0',
    'added/file f 644 0:0',
    'big f 640 7:8',
    'dev d 755 0:0',
    'etc d 755 0:0',
    'etc/a "name" <5> f 644 0:0',
    'hard f 640 7:8',
    'link l 777 0:0',
    'thing d 755 0:0',
    'thing/inside f 644 0:0',
  ];

  it.each(Object.keys(READERS))('makes the same %s twice, which another program reads', async (format) => {
    const folder = await temporary();
    await mkdir(join(folder, 'added'));
    await writeFile(join(folder, 'added/file'), 'of this machine');
    const paths = ['one', 'two'].map((name) => join(folder, `${name}.${format}`));
    for (const path of paths)
      expect(await nodeos('oci', 'image', image, '--out', path, '--add', join(folder, 'added'))).toMatchObject({
        status: 0,
      });
    const [one, two] = await Promise.all(paths.map((path) => readFile(path)));
    expect(one?.equals(two ?? Buffer.alloc(0))).toBe(true);
    expect((await readdir(folder)).sort()).toEqual(['added', `one.${format}`, `two.${format}`]);
    const out = join(folder, 'out');
    await mkdir(out);
    await READERS[format]?.(paths[0] ?? '', out);
    const found = await unpacked(out);
    // Folders have as many names as they have folders in them, in some filesystems.
    expect(found.map((line) => line.replace(/ \d+$/, '')).filter((line) => !line.startsWith('dev/null'))).toEqual(
      EXPECTED,
    );
    // rdump of debugfs makes no devices.
    if (format !== 'ext4') expect(found.find((line) => line.startsWith('dev/null'))).toMatch(/ c 666 0:0/);
    expect(await readFile(join(out, 'thing/inside'), 'utf8')).toBe('a folder now');
    expect(await readFile(join(out, 'hard'), 'utf8')).toBe('b'.repeat(300_000));
    expect(await readFile(join(out, 'added/file'), 'utf8')).toBe('of this machine');
  });

  it('keeps in ext4 what a folder of this machine could not have without root', async () => {
    const folder = await temporary();
    const pax = {
      'SCHILY.xattr.user.mime': 'text/plain',
      'SCHILY.xattr.security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex'),
      mtime: '9000000000.123456789',
    };
    const own = await layoutOf(join(folder, 'layout'), [
      tarOf([
        { path: 'program', content: 'x', mode: 0o4711, uid: 3_000_000, pax },
        { path: 'dev/null', kind: '3', rdev: [1, 3], mode: 0o666 },
        { path: 'past', content: 'x', mtime: -5 },
        ...Array.from({ length: 600 }, (_, index) => ({
          path: `names/of-one-file-${index}`,
          kind: '1',
          link: 'program',
        })),
      ]),
    ]);
    const path = join(folder, 'own.ext4');
    expect(await nodeos('oci', 'image', `oci:${own}`, '--out', path)).toMatchObject({ status: 0 });
    await run('/usr/sbin/e2fsck', ['-fn', path]);
    const ask = async (what: string): Promise<string> => (await run('/usr/sbin/debugfs', ['-R', what, path])).stdout;
    const program = await ask('stat program');
    expect(program).toMatch(/Mode: {2}04711[^]*User: 3000000[^]*Links: 601/);
    // 9,000,000,000 seconds: two more bits than 32, and the nanoseconds.
    expect(program).toContain(
      ` mtime: 0x${(9_000_000_000 % 2 ** 32).toString(16)}:${((123_456_789 * 4) | 2).toString(16)}`,
    );
    expect(await ask('ea_list program')).toMatch(
      /user\.mime \(10\) = "text\/plain"[^]*security\.capability \(20\) = 01 00 00 02 00 04/,
    );
    expect(await ask('stat dev/null')).toMatch(
      /character special {4}Mode: {2}0666[^]*Device major\/minor number: 01:03/,
    );
    expect(await ask('stat past')).toContain(' mtime: 0xfffffffb:00000000');
    expect((await ask('ls -p names')).match(/of-one-file/g)).toHaveLength(600);
  });

  it('needs the merge: tar2sqfs itself, given the layers, keeps the secret', async () => {
    const folder = await temporary();
    const layers = await Promise.all(
      LAYERS.map(async (layer, index) => {
        const path = join(folder, `${index}.tar`);
        // Without the two zero blocks at the end, archives can be put behind each other.
        await writeFile(
          path,
          tarOf(layer.filter(({ path: name }) => !String(name).startsWith('thing'))).subarray(0, -1024),
        );
        return path;
      }),
    );
    await run('sh', ['-c', `cat ${layers.reverse().join(' ')} | tar2sqfs -q -f "${folder}/wrong.squashfs"`]);
    const { stdout } = await run('rdsquashfs', ['-d', join(folder, 'wrong.squashfs')]);
    expect(stdout).toContain('file etc/secret');
    expect(stdout).toContain('file etc/.wh.secret');
    await nodeos('oci', 'image', image, '--out', join(folder, 'right.squashfs'));
    const right = (await run('rdsquashfs', ['-d', join(folder, 'right.squashfs')])).stdout;
    expect(right).not.toContain('secret');
  });

  it('keeps hard links, attributes and large owners in squashfs and EROFS', async () => {
    const folder = await temporary();
    const pax = { 'SCHILY.xattr.security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex') };
    const members = [
      { path: './', mode: 0o711 },
      { path: 'a', content: 'abc', uid: 3_000_000, pax },
      { path: 'b', kind: '1', link: 'a' },
    ];
    const own = await layoutOf(join(folder, 'layout'), [tarOf(members)]);
    const [squashfs, erofs] = [join(folder, 'own.squashfs'), join(folder, 'own.erofs')];
    for (const path of [squashfs, erofs])
      expect(await nodeos('oci', 'image', `oci:${own}`, '--out', path)).toMatchObject({ status: 0 });
    await run('unsquashfs', ['-d', join(folder, 'out'), squashfs]);
    expect(await unpacked(join(folder, 'out'))).toEqual(['a f 644 3000000:0 2', 'b f 644 3000000:0 2']);
    expect((await run('rdsquashfs', ['-x', 'b', squashfs])).stdout).toMatch(
      /^security\.capability=0x0100000200040000/m,
    );
    expect((await run('unsquashfs', ['-lln', squashfs])).stdout).toMatch(/^drwx--x--x .* squashfs-root$/m);
    await run('fsck.erofs', [erofs]);
    const { stdout: dumped } = await run('dump.erofs', ['--path=/b', erofs]);
    expect(dumped).toMatch(/Links: 2 [^]*Uid: 3000000/);
  });

  it('leaves nothing when it is interrupted', async () => {
    const folder = await temporary();
    const big = await layoutOf(join(folder, 'big'), [tarOf([{ path: 'a', content: Buffer.alloc(64 << 20, 'x') }])]);
    const out = join(folder, 'out');
    await mkdir(out);
    const running = start(['oci', 'image', `oci:${big}`, '--out', join(out, 'a.ext4')]);
    for (let tries = 0; (await readdir(out)).length === 0 && tries < 600; tries++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await readdir(out)).toHaveLength(1);
    running.child.kill('SIGINT');
    expect(await running.ended).toMatchObject({ status: 130 });
    expect(await readdir(out)).toEqual([]);
  });
});
