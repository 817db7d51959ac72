/** The example of the README runs, except that its image comes from a registry on the loopback. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { startExample, blocksOf } from '../../block/test/readme.js';
import { startRegistry } from '../../remote/test/registry.js';
import { layoutOf, tarOf } from './images.js';

it('the example fetches an image, and lists the files of its layers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-oci-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, 'registry'));
  const registry = await startRegistry(join(folder, 'registry'));
  onTestFinished(() => registry.close());
  const layers = [
    tarOf([{ path: 'etc/' }, { path: 'etc/a', content: 'old' }]),
    tarOf([{ path: 'etc/a', content: 'a' }]),
  ];
  const layout = await layoutOf(join(folder, 'layout'), layers, { config: { Cmd: ['/bin/sh'] } });
  const name = `docker://${registry.host}/debian:12`;
  const options = ['--quiet', '--insecure-policy', '--dest-tls-verify=false'];
  await promisify(execFile)('skopeo', ['copy', ...options, `oci:${layout}:latest`, name]);

  const [example = '', ...others] = blocksOf(new URL('../README.md', import.meta.url), 'js');
  expect(others).toEqual([]);
  expect(example).toContain("'docker://debian:12'");
  const output = await startExample(example.replace('docker://debian:12', name), join(folder, 'example')).ended;
  expect(output).toMatch(/^sha256:[0-9a-f]{64} \[ '\/bin\/sh' \]\n.*directory 0 etc\nfile 1 etc\/a\n$/s);
  expect(await readdir(join(folder, 'example/images'))).not.toEqual([]);
});
