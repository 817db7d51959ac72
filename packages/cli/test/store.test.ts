/** nodeos store: every action, on a real filesystem, as a user calls it. */
import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRegistry, type Registry } from '../../remote/test/registry.js';
import { NODEOS, nodeosStore, type Result } from './command.js';

let folder = '';

const nodeos = (...args: string[]): Promise<Result> => nodeosStore(folder, ...args);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nodeos-store-cli-'));
  const tree = join(import.meta.dirname, '..');
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', tree, join(folder, 'disk.img'), '64M']);
  expect((await nodeos('key', 'tenant.key')).status).toBe(0);
  expect((await nodeos('key', 'second.key', '--domain', 'tenant.key')).status).toBe(0);
  const pushed = await nodeos('push', 'disk.img', 'store:one', '--key', 'tenant.key', '--filesystem', 'ext4', '--json');
  expect(JSON.parse(pushed.stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({ event: 'done', size: 64 << 20 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('an image is pushed once, listed, compared, verified, and pulled as it was', async () => {
  const again = await nodeos('push', 'disk.img', 'store:two', '--key', 'tenant.key', '--filesystem', 'ext4');
  expect(again.stderr).toMatch(/new are 0, 0 bytes/);
  const list = await nodeos('ls', 'store', '--json');
  expect(
    list.stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { name: string }).name),
  ).toEqual(['one', 'two']);
  expect((await nodeos('ls', 'store:one')).stdout).toMatch(/64 MiB.* one \(ext4, zstd, encrypted\)/);
  expect((await nodeos('diff', 'store:one', 'store:two')).stdout).toMatch(/100\.0 % of store:two/);
  expect((await nodeos('verify', 'store:one', '--key', 'tenant.key')).stderr).toMatch(/all are there/);
  expect((await nodeos('pull', 'store:one', 'back.img', '--key', 'tenant.key')).status).toBe(0);
  execFileSync('cmp', ['disk.img', 'back.img'], { cwd: folder });
});

test('a server gives the image to qemu-img and nbdinfo, records the start, and counts', async () => {
  const check =
    'nbdinfo --size "$NBD_URI" && qemu-img compare -f raw -F raw disk.img "$NBD_URI" && curl -s "$NBD_METRICS"';
  const served = await nodeos(
    ...['serve', 'store:one', '--key', 'tenant.key', '--record', '--cache', 'chunks', '--metrics', '0'],
    ...['--', 'sh', '-c', check],
  );
  expect(served.stdout).toMatch(/^67108864\nImages are identical/);
  expect(Number(/nodeos_store_hits_total\{tier="[^"]*store"\} (\d+)/.exec(served.stdout)?.[1])).toBeGreaterThan(5);
  expect(served.stderr).toMatch(/the start list has \d+ of \d+ blocks/);
  expect((await nodeos('top', 'store:one', '--with', 'store:two')).stdout).toMatch(/^[.=]{64}\n/);
});

test('what a server does is shown, and another host gets chunks from it', async () => {
  const script = `qemu-img convert -f raw -O raw "$NBD_URI" null.img && '${process.execPath}' '${NODEOS}' store top "$NBD_METRICS" --once`;
  const served = await nodeos(
    ...['serve', 'store:one', '--key', 'tenant.key', '--metrics', '0', '--http', '0', '--', 'sh', '-c', script],
  );
  expect(served.stdout).toMatch(/^tier +hits +bytes +missing +invalid +failed\n\S*store +\d/m);
  expect(served.stdout).toMatch(/\d+ blocks unpacked, 0 waited for/);
  expect(served.stderr).toMatch(/chunks for other hosts: http:\/\/127\.0\.0\.1:\d+/);
  const alone = await nodeos('serve', 'store:one', '--peer', 'http://10.0.0.1:9200');
  expect([alone.status, alone.stderr]).toEqual([2, expect.stringMatching(/--peer: only with --http and --self/)]);
});

test('a second tenant reads an image after rekey only, and the first no more after --revoke', async () => {
  const verify = (key: string): Promise<Result> => nodeos('verify', 'store:two', '--key', key);
  await nodeos('push', 'disk.img', 'store:two', '--key', 'tenant.key', '--filesystem', 'other');
  expect((await verify('second.key')).stderr).toMatch(/not there for this tenant/);
  const both = await nodeos('rekey', 'store:two', '--key', 'tenant.key', '--to', 'second.key', '--revoke');
  expect(both.status).toBe(0);
  expect((await verify('second.key')).status).toBe(0);
  expect((await verify('tenant.key')).status).toBe(1);
});

test('what a machine writes becomes a new image', async () => {
  const write = 'qemu-io -f raw -c "write -P 7 1M 3k" -c flush "$NBD_URI"';
  const served = await nodeos(
    'serve',
    'store:one',
    '--key',
    'tenant.key',
    '--overlay',
    'changes',
    '--',
    'sh',
    '-c',
    write,
  );
  expect(served.stderr + served.stdout).toMatch(/wrote 3072\/3072 bytes/);
  const done = await nodeos('commit', 'store:one', 'changes', 'tuned', '--key', 'tenant.key');
  expect(done.stderr).toMatch(/new are 1,/);
  expect((await nodeos('pull', 'store:tuned', 'tuned.img', '--key', 'tenant.key')).status).toBe(0);
  const [old, tuned] = [await readFile(join(folder, 'disk.img')), await readFile(join(folder, 'tuned.img'))];
  old.fill(7, 1 << 20, (1 << 20) + 3072);
  expect(tuned.equals(old)).toBe(true);
});

test('an image of stream-my-root is written, and served with its size', async () => {
  expect((await nodeos('push', 'disk.img', 'smr:disk.recipe?blocks=smr')).stderr).toMatch(
    /\d+ blocks, \d+ of them new/,
  );
  expect(await readFile(join(folder, 'disk.recipe'), 'utf8')).toMatch(/^0 [0-9a-f]{64}\n/);
  const [block = ''] = await readdir(join(folder, 'smr'));
  expect(block).toMatch(/^[0-9a-f]{64}\.zst$/);
  execFileSync('zstd', ['-tq', join(folder, 'smr', block)]);
  const compare = 'qemu-img compare -f raw -F raw disk.img "$NBD_URI"';
  const served = await nodeos('serve', 'smr:disk.recipe?blocks=smr&size=64M', '--', 'sh', '-c', compare);
  expect(served.stdout).toMatch(/identical/);
});

describe('errors', () => {
  test.each([
    [['push', 'disk.img', 'store'], 2, /expected STORE:NAME/],
    [['push', 'disk.img', 'store:a/b'], 2, /expected STORE:NAME/],
    [['push', 'disk.img', 'ftp://host/store:a'], 2, /no store of a known kind/],
    [['push', 'disk.img', 'store:a', '--codec', 'gzip'], 2, /--codec gzip: expected zstd/],
    [['push', 'disk.img', 'store:a', '--block-size', '5000'], 2, /a power of two/],
    [['push', 'disk.img', 'store:a', '--key', 'none.key'], 1, /nodeos store key none\.key makes one/],
    [['ls', 'store:none'], 1, /has no image "none"/],
    [['verify', 'store:one', '--key', 'disk.img'], 1, /chmod 600/],
    [['pull', 'store:one', 'x.img'], 1, /is encrypted, and there is no key/],
    [['gc', 'store', '--grace', 'soon'], 2, /expected a time/],
    [['gc', 'http://127.0.0.1:1/store'], 2, /cannot say what it has/],
    [['rm', 'store:none'], 1, /has no image "none"/],
    [['commit', 'store:one', 'changes', 'one'], 2, /a name of its own/],
    [['serve'], 2, /no image/],
    [['serve', 'smr:none.recipe'], 1, /cannot read the recipe/],
  ])('%j', async (args, status, message) => {
    const found = await nodeos(...args);
    expect([found.status, found.stderr]).toEqual([status, expect.stringMatching(message)]);
  });
});

test('a chunk that is damaged is named, a removed image is collected, and a root that cannot be read ends that', async () => {
  await writeFile(join(folder, 'small.img'), 'something that no other image has');
  await nodeos('push', 'small.img', 'store:small');
  await nodeos('rm', 'store:small');
  expect((await nodeos('gc', 'store', '--grace', '0s', '--dry-run')).stderr).toMatch(/to be condemned 1/);
  expect((await nodeos('gc', 'store', '--grace', '0s')).stderr).toMatch(/condemned 1, .*deleted 0 /);
  expect((await nodeos('gc', 'store', '--grace', '0s')).stderr).toMatch(/deleted 1 \(/);
  expect((await nodeos('verify', 'store:one', '--key', 'tenant.key')).status).toBe(0);
  const shard = join(folder, 'store/chunks', (await readdir(join(folder, 'store/chunks')))[0] ?? '');
  const chunk = join(shard, (await readdir(shard))[0] ?? '');
  await chmod(chunk, 0o644);
  await writeFile(chunk, 'damaged');
  const verified = await nodeos('verify', 'store:one', 'store:tuned');
  expect(verified.status).toBe(1);
  expect(verified.stdout).toMatch(/not what its id says: [0-9a-f]{64}/);
  await writeFile(join(folder, 'store/recipes/broken'), 'no recipe');
  const collected = await nodeos('gc', 'store', '--grace', '0s');
  expect([collected.status, collected.stderr]).toEqual([1, expect.stringMatching(/broken: this is no recipe/)]);
});

describe('a registry of containers', () => {
  let registry: Registry;
  let blobs = '';
  beforeAll(async () => {
    blobs = await mkdtemp(join(tmpdir(), 'nodeos-store-cli-registry-'));
    registry = await startRegistry(blobs);
  });
  afterAll(async () => {
    await registry.close();
    await rm(blobs, { recursive: true, force: true });
  });

  test('an image is pushed there, served from there, and its next version stores what is new', async () => {
    const at = `oci://${registry.host}/disks`;
    expect((await nodeos('push', 'disk.img', `${at}:v1`, '--key', 'tenant.key')).stderr).toMatch(/\(100\.0 %\)/);
    await writeFile(
      join(folder, 'next.img'),
      Buffer.concat([await readFile(join(folder, 'disk.img')), Buffer.from('more')]),
    );
    const next = await nodeos('push', 'next.img', `${at}:v2`, '--base', 'v1', '--key', 'tenant.key');
    expect(next.stderr).toMatch(/new are 1,/);
    expect((await nodeos('ls', `${at}:v2`)).stdout).toMatch(/v2 \(zstd, encrypted\)/);
    const compare = 'qemu-img compare -f raw -F raw next.img "$NBD_URI"';
    const served = await nodeos('serve', `${at}:v2`, '--key', 'tenant.key', '--record', '--', 'sh', '-c', compare);
    expect(served.stdout + served.stderr).toMatch(/identical/);
    expect((await nodeos('verify', `${at}:v1`, `${at}:v2`, '--key', 'tenant.key')).status).toBe(0);
  });

  test('images there are listed, removed, and collected; what means nothing there is refused', async () => {
    const at = `oci://${registry.host}/disks`;
    expect((await nodeos('ls', at)).stdout).toMatch(/ v1 \(.*\n.* v2 \(/);
    expect((await nodeos('rm', `${at}:v1`)).status).toBe(0);
    expect((await nodeos('ls', at)).stdout).not.toMatch(/ v1 /);
    expect((await nodeos('rm', `${at}:v1`)).stderr).toMatch(/has no image "v1"/);
    expect((await nodeos('push', 'disk.img', `${at}:v2`)).status).toBe(0);
    const dry = await nodeos('gc', at, '--dry-run', '--json');
    expect(JSON.parse(dry.stdout)).toMatchObject({ images: 1, packs: 1, deleted: 0, dry: true });
    const done = await nodeos('gc', at, '--grace', '0s');
    expect(done.stderr).toMatch(/1 images need .* of 1 packs/);
    expect(done.stderr).toMatch(/deleted [345] replaced manifests; 0 wait\n.*own collection frees/);
    expect((await nodeos('verify', `${at}:v2`)).status).toBe(0);
    const refused = await nodeos('gc', at, '--resume');
    expect([refused.status, refused.stderr]).toEqual([2, expect.stringMatching(/not for a registry/)]);
    expect((await nodeos('gc', `oci://${registry.host}/nothing`)).stderr).toMatch(/list of tags: HTTP status 404/);
  });

  test('a registry that deletes nothing is said, and keeps what was replaced', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'nodeos-store-cli-registry-'));
    const keeping = await startRegistry(folder, false);
    try {
      const at = `oci://${keeping.host}/disks`;
      for (const tag of ['v1', 'v2']) expect((await nodeos('push', 'disk.img', `${at}:${tag}`)).status).toBe(0);
      expect((await nodeos('rm', `${at}:v1`)).status).toBe(0);
      const done = await nodeos('gc', at, '--grace', '0s');
      expect([done.status, done.stderr]).toEqual([0, expect.stringMatching(/2 replaced manifests stay, because the/)]);
      expect((await nodeos('verify', `${at}:v2`)).status).toBe(0);
    } finally {
      await keeping.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
