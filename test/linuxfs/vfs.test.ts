/** A provider for node:vfs, under the Node.js 26 that is pinned. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { artifact, build, plainProgress } from '@nodeos/engine';
import { targetOf } from '@nodeos/targets';
import { systemOf } from 'nodeos';
import { expect, it } from 'vitest';
import { LONG, ROOT, temporary } from '../support.js';
import { builtKernel, checked, emptyDisk } from './disks.js';

it('has the files of a mounted filesystem, without what is synchronous', { timeout: LONG }, async () => {
  const { runtime } = await systemOf(targetOf('x86_64'), { libc: 'glibc' });
  const progress = plainProgress((text) => process.stderr.write(text));
  const node = (await build([runtime], { progress, jobs: 2 })).path(artifact(runtime, 'program', 'root/bin/node'));
  const folder = await temporary();
  const image = emptyDisk(folder, 'ext4');
  const code = `
    import { create } from 'node:vfs';
    import { open } from '${ROOT}packages/linuxfs/dist/index.js';
    import { provider } from '${ROOT}packages/linuxfs/dist/vfs.js';
    const disk = await open(process.argv[2], { kernel: process.argv[3] });
    const vfs = create(provider(await disk.mount()));
    const { promises } = vfs;
    await promises.mkdir('/sub');
    await promises.writeFile('/x', 'by vfs');
    await promises.symlink('../x', '/sub/link');
    const { size } = await promises.stat('/x');
    let code;
    try { vfs.readFileSync('/x'); } catch (error) { code = error.code; }
    console.log(JSON.stringify([await promises.readFile('/sub/link', 'utf8'), size, vfs.readonly, code]));
    await disk.close();`;
  writeFileSync(join(folder, 'main.mjs'), code);
  const args = ['--no-warnings', '--experimental-vfs', join(folder, 'main.mjs'), image, await builtKernel()];
  const { stdout } = await promisify(execFile)(node, args);
  expect(JSON.parse(stdout)).toEqual(['by vfs', 6, false, 'ERR_METHOD_NOT_IMPLEMENTED']);
  expect(checked(image, 'ext4')).toMatchObject({ status: 0 });
});
