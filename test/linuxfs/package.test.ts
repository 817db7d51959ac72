/** The package with the program, as it is published and installed. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '@nodeos/engine';
import { expect, it, onTestFinished } from 'vitest';
import { contentProblems } from '../../scripts/published/contents.js';
import { packAll } from '../../scripts/release/pack.js';
import { NpmRegistry } from '../npm/registry.js';
import { publish } from '../npm/shop.js';
import { LONG, temporary } from '../support.js';
import { builtKernel, emptyDisk } from './disks.js';

const WANTED = /^@nodeos\/(linuxfs|linuxfs-linux-x64|base|block|contract|targets|tree|vm)$/;

it('brings the kernel along, with its sources', { timeout: LONG }, async () => {
  const folder = await temporary();
  const registry = await NpmRegistry.start(/^@nodeos\//);
  onTestFinished(() => registry.close());
  const npmrc = join(folder, 'npmrc');
  writeFileSync(npmrc, `registry=${registry.url}\n//${new URL(registry.url).host}/:_authToken=test\naudit=false\n`);
  const all = await packAll({ into: join(folder, 'tarballs'), linuxfs: await builtKernel() });
  await publish(npmrc, all.filter(({ name }) => WANTED.test(name))); // prettier-ignore
  const mine = join(folder, 'mine');
  mkdirSync(mine);
  writeFileSync(join(mine, 'package.json'), '{"name":"mine","type":"module"}');
  await run('npm', ['install', '@nodeos/linuxfs', '--userconfig', npmrc], { cwd: mine, environment: 'host' });

  const platform = join(mine, 'node_modules/@nodeos/linuxfs-linux-x64');
  const manifest = JSON.parse(readFileSync(join(platform, 'package.json'), 'utf8')) as Record<string, unknown>;
  expect(manifest).toMatchObject({ license: 'GPL-2.0-only', os: ['linux'], cpu: ['x64'] });
  expect(await contentProblems(platform, manifest)).toEqual([]);
  for (const name of ['nodefs/server.c', 'patches', 'config', '../LICENSE', '../README.md'])
    expect(existsSync(join(platform, 'sources', name)), name).toBe(true);

  const image = emptyDisk(folder, 'ext4');
  const code = `
    import { open } from '@nodeos/linuxfs';
    const disk = await open(process.argv[2]);
    const { promises } = await disk.mount();
    await promises.writeFile('/x', 'installed');
    console.log(await promises.readFile('/x', 'utf8'));
    await disk.close();`;
  writeFileSync(join(mine, 'main.js'), code);
  const env = { PATH: process.env['PATH'] };
  expect(execFileSync(process.execPath, ['main.js', image], { cwd: mine, env, encoding: 'utf8' })).toBe('installed\n');
});
