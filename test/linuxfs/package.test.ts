/** The packages with the kernels, as they are published and installed. */
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
import { builtKernel, builtQemuKernel, emptyDisk } from './disks.js';

const WANTED = /^@nodeos\/(linuxfs|linuxfs-linux-x64|linuxfs-qemu-x64|base|block|contract|targets|tree|vm)$/;

it(
  'npm brings the kernel that fits along, with its sources; the other one is found too',
  { timeout: LONG },
  async () => {
    const folder = await temporary();
    const registry = await NpmRegistry.start(/^@nodeos\//);
    onTestFinished(() => registry.close());
    const npmrc = join(folder, 'npmrc');
    writeFileSync(npmrc, `registry=${registry.url}\n//${new URL(registry.url).host}/:_authToken=test\naudit=false\n`);
    const kernels = [await builtKernel(), await builtQemuKernel()];
    const all = await packAll({ into: join(folder, 'tarballs'), linuxfs: kernels });
    await publish(npmrc, all.filter(({ name }) => WANTED.test(name))); // prettier-ignore
    const mine = join(folder, 'mine');
    mkdirSync(mine);
    writeFileSync(join(mine, 'package.json'), '{"name":"mine","type":"module"}');
    await run('npm', ['install', '@nodeos/linuxfs', '--userconfig', npmrc], { cwd: mine, environment: 'host' });

    const scope = join(mine, 'node_modules/@nodeos');
    expect(existsSync(join(scope, 'linuxfs-qemu-x64'))).toBe(false); // which is for macOS
    mkdirSync(join(scope, 'linuxfs-qemu-x64'));
    const tarball = all.find(({ name }) => name === '@nodeos/linuxfs-qemu-x64')?.file ?? '';
    await run('tar', ['-xzf', tarball, '-C', join(scope, 'linuxfs-qemu-x64'), '--strip-components=1'], { cwd: mine });
    for (const [name, os] of Object.entries({ 'linuxfs-linux-x64': 'linux', 'linuxfs-qemu-x64': 'darwin' })) {
      const platform = join(scope, name);
      const manifest = JSON.parse(readFileSync(join(platform, 'package.json'), 'utf8')) as Record<string, unknown>;
      expect(manifest).toMatchObject({ license: 'GPL-2.0-only', os: [os], cpu: ['x64'] });
      expect(await contentProblems(platform, manifest)).toEqual([]);
      for (const part of ['nodefs/server.c', 'patches', 'config', '../LICENSE', '../README.md'])
        expect(existsSync(join(platform, 'sources', part)), part).toBe(true);
    }

    const image = emptyDisk(folder, 'ext4');
    const code = `
    import { open } from '@nodeos/linuxfs';
    for (const options of [{}, { kernel: 'qemu' }]) {
      const disk = await open(process.argv[2], options);
      const { promises } = await disk.mount();
      await promises.writeFile('/x', 'with ' + JSON.stringify(options));
      console.log(await promises.readFile('/x', 'utf8'));
      await disk.close();
    }`;
    writeFileSync(join(mine, 'main.js'), code);
    const env = { PATH: process.env['PATH'] };
    const said = execFileSync(process.execPath, ['main.js', image], { cwd: mine, env, encoding: 'utf8' });
    expect(said).toBe('with {}\nwith {"kernel":"qemu"}\n');
  },
);
