import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { locationOf } from '../image/location.js';
import { wordsIn } from '../image/shell-words.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nodeos-test-'));
  await mkdir(join(folder, 'folder:1'));
  for (const name of ['disk.img', 'odd:2', 'folder:1/root.ext4', 'disk.img.zst'])
    await writeFile(join(folder, name), '');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a place in an image of this machine', () => {
  it.each([
    ['disk.img', 'disk.img', undefined, '/', false],
    ['disk.img/', 'disk.img', undefined, '/', true],
    ['disk.img:', 'disk.img', undefined, '/', true],
    ['disk.img:1', 'disk.img', 1, '/', true],
    ['disk.img:12/etc/passwd', 'disk.img', 12, '/etc/passwd', true],
    ['disk.img/etc/../boot//', 'disk.img', undefined, '/boot', true],
    ['disk.img:/etc', 'disk.img', undefined, '/etc', true],
    ['disk.img:/a:b', 'disk.img', undefined, '/a:b', true],
    ['odd:2', 'odd:2', undefined, '/', false],
    ['odd:2:3/x', 'odd:2', 3, '/x', true],
    ['folder:1/root.ext4/etc', 'folder:1/root.ext4', undefined, '/etc', true],
    ['missing.img:1/x', 'missing.img:1/x', undefined, '/', false],
  ])('%s', async (text, source, partition, path, isInside) => {
    expect(await locationOf(`${folder}/${text}`)).toMatchObject({
      source: `${folder}/${source}`,
      partition,
      path,
      isInside,
    });
  });

  it('has the forms of sources in front', async () => {
    const path = `${folder}/disk.img`;
    expect(await locationOf(`partition:2:${path}/etc`)).toMatchObject({ source: path, partition: 2, path: '/etc' });
    expect(await locationOf(`partition:2/4096:${path}/x`)).toMatchObject({
      source: `partition:2/4096:${path}`,
      path: '/x',
    });
    expect(await locationOf(`qcow2:${path}:3/x`)).toMatchObject({ source: `qcow2:${path}`, partition: 3, path: '/x' });
    expect(await locationOf(`${path}.zst:1`)).toMatchObject({ source: `zstd:${path}.zst`, partition: 1 });
    await expect(locationOf(`partition:2:${path}:1/x`)).rejects.toThrow(/two partitions/);
    await expect(locationOf(`${path}:0`)).rejects.toThrow(/from 1 on/);
  });
});

describe('a place in an image elsewhere', () => {
  it.each([
    ['https://example.org/cd.iso', 'https://example.org/cd.iso', undefined, '/', false],
    ['https://example.org:8080/cd.iso:/EFI', 'https://example.org:8080/cd.iso', undefined, '/EFI', true],
    ['https://example.org/cd.iso:2', 'https://example.org/cd.iso', 2, '/', true],
    ['nbd://host:10809/export:2/etc', 'nbd://host:10809/export', 2, '/etc', true],
    ['nbd://host:10809', 'nbd://host:10809', undefined, '/', false],
    ['nbd+unix:///disk?socket=/tmp/s:1/x', 'nbd+unix:///disk?socket=/tmp/s', 1, '/x', true],
    ['store:/srv/store:debian-12', 'store:/srv/store:debian-12', undefined, '/', false],
    ['store:/srv/store:debian-12:/etc', 'store:/srv/store:debian-12', undefined, '/etc', true],
    ['docker://debian:12', 'docker://debian:12', undefined, '/', false],
    ['docker://debian:12:/etc', 'docker://debian:12', undefined, '/etc', true],
    ['docker://host:5000/app@sha256:0a:/', 'docker://host:5000/app@sha256:0a', undefined, '/', true],
    ['oci:/srv/layout:/etc', 'oci:/srv/layout', undefined, '/etc', true],
    ['oci:layout:app:/etc', 'oci:layout:app', undefined, '/etc', true],
    ['docker-archive:app.tar.xz', 'docker-archive:app.tar.xz', undefined, '/', false],
    ['store:https://host/store:debian:1/etc', 'store:https://host/store:debian', 1, '/etc', true],
  ])('%s', async (text, source, partition, path, isInside) => {
    expect(await locationOf(text)).toMatchObject({ source, partition, path, isInside });
  });
});

describe('words of the shell', () => {
  it.each([
    ['  ls   -l ', ['ls', '-l']],
    ["cp 'a b' c\\ d", ['cp', 'a b', 'c d']],
    ['rm "it\'s" x"y"z', ['rm', "it's", 'xyz']],
    ['cat "a\\"b" \\\\', ['cat', 'a"b', '\\']],
    ["mkdir ''", ['mkdir', '']],
    ['', []],
  ])('%s', (line, words) => expect(wordsIn(line)).toEqual(words));

  it('are not cut at a quote that is not closed', () =>
    expect(() => wordsIn("rm -r 'a b")).toThrow(/not closed: 'a b/));
});
