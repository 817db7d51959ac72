/** The toolchain with what it cannot be built from, or on: each error names the place and the reason. */
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type NodeosError } from '@nodeos/base';
import { DEFAULT_TARGET, targetOf } from '@nodeos/targets';
import { build, plainProgress } from '@nodeos/engine';
import { LINUX } from '@nodeos/kernel';
import { toolchainSteps } from '@nodeos/toolchain';
import { describe, expect, it } from 'vitest';
import { cacheWith, LONG, nodeos, ROOT, start, temporary } from '../support.js';

const CLI = join(ROOT, 'packages/cli/bin/nodeos.js');

describe('the toolchain', { timeout: LONG }, () => {
  it('of an unknown target is refused, with those that there are', async () => {
    const { status, stderr } = await nodeos('toolchain', 'build', '--target', 'sparc-linux-musl');
    expect(status).toBe(2);
    expect(stderr).toContain('unknown target "sparc-linux-musl"');
    expect(stderr).toContain('the targets are: x86_64, aarch64, i686, armv7, riscv64');
  });

  it('with a patch that does not fit says which one, and where it failed', async () => {
    const patches = await temporary();
    const lines = [
      '--- a/src/malloc/free.c',
      '+++ b/src/malloc/free.c',
      '@@ -1,1 +1,1 @@',
      '-void none;',
      '+void one;',
    ];
    await writeFile(join(patches, '0009-does-not-fit.patch'), lines.join('\n') + '\n');
    const { toolchain } = toolchainSteps(targetOf(DEFAULT_TARGET), LINUX);
    const musl = toolchain.inputs?.['sysroot'];
    if (!musl) throw new Error('the toolchain has no sysroot');
    const progress = plainProgress(() => undefined);
    const error = (await build([{ ...musl, files: { patches } }], { progress, jobs: 2 }).catch(
      (caught: unknown) => caught,
    )) as NodeosError;
    expect(error.message).toMatch(/toolchain-musl: patch .*0009-does-not-fit\.patch: exit status 1/);
    expect(error.lines.join('\n')).toMatch(/Hunk #1 FAILED/);
    expect(error.log).toMatch(/toolchain-musl/);
  });

  it('that was interrupted goes on with the stage that was not finished', async () => {
    const env = { NODEOS_CACHE: await cacheWith('toolchain-binutils', 'toolchain-headers') };
    for (let attempt = 0; attempt < 2; attempt++) {
      const building = start(['toolchain', 'build', '--json'], { env });
      await building.waitForOutput(/"line":".*checking for/);
      building.child.kill('SIGINT');
      const { status, stdout, stderr } = await building.ended;
      expect(status).toBe(130);
      expect(stdout + stderr).toMatch(/"start","step":"toolchain-gcc"|"step":"toolchain-gcc"/);
      expect(stdout + stderr).not.toMatch(/"event":"start","step":"toolchain-binutils"/);
      expect(await readdir(join(env.NODEOS_CACHE, 'tmp'))).toEqual([]);
      expect((await readdir(join(env.NODEOS_CACHE, 'steps'))).sort()).toEqual([
        'toolchain-binutils',
        'toolchain-headers',
      ]);
    }
  });

  it('on a full disk says so, with the step, and what to do', async (context) => {
    const cache = await cacheWith();
    const disk = join(cache, 'disk');
    await mkdir(disk);
    const mount = 'mount -t tmpfs -o size=48m tmpfs "$0"';
    const unshare = ['unshare', process.getuid?.() === 0 ? '-m' : '-Urm', 'sh', '-c'] as const;
    const [command, ...words] = unshare;
    if (spawnSync(command, [...words, mount, disk]).status !== 0) context.skip('no tmpfs can be mounted here');
    const script = `${mount} && ln -s '${join(cache, 'sources')}' "$0/sources" && NODEOS_CACHE="$0" exec "$1" "$2" toolchain build`;
    const { status, stderr } = spawnSync(command, [...words, script, disk, process.execPath, CLI], {
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/toolchain-(binutils|headers): (tar|ar) .*: exit status/);
    expect(stderr).toMatch(/No space left on device/);
    expect(stderr).toMatch(/free some|NODEOS_CACHE/);
  });

  it('whose sources no place has names each place, and its reason', async () => {
    const refused = 'http://127.0.0.1:9'; // a proxy that refuses everybody is a network that cannot be reached
    const env = { NODEOS_CACHE: await temporary(), HTTPS_PROXY: refused, HTTP_PROXY: refused, http_proxy: refused };
    const { status, stderr } = await start(['toolchain', 'build', '--jobs', '1'], { env }).ended;
    expect(status).toBe(1);
    expect(stderr).toMatch(/cannot fetch binutils 2\.44/);
    expect(stderr).toMatch(/Debian trixie, package binutils-source 2\.44\S*: /);
    expect(stderr).toMatch(/https:\/\/snapshot\.debian\.org\/file\/\w+: /);
    expect(stderr).toMatch(/https:\/\/ftp\.gnu\.org\/gnu\/binutils\/\S+: /);
  });
});
