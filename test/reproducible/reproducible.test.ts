import { cp, mkdir, readFile, realpath, symlink } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Cache, hashPath } from '@nodeos/engine';
import { describe, expect, it } from 'vitest';
import { nodeos, ROOT, start, temporary } from '../support.js';

const exec = promisify(execFile);

/** Builds into `out`; @returns the hash of each file. */
async function hashes(out: string, env: Record<string, string>): Promise<Record<string, string>> {
  const args = [
    'build',
    'kernel',
    'runtime',
    'usr',
    'init',
    'initramfs',
    'initramfs-stream',
    'root',
    'tls-handshake',
    'iso', // compressed by programs that the host's compiler has made
    '--app',
    join(ROOT, 'examples/fastify'),
    '--out',
    out,
  ];
  const { status, stderr } = await start(args, { env }).ended;
  expect(status, stderr).toBe(0);
  const names = [
    'kernel',
    'vmlinux',
    'node',
    'runtime.json',
    'init',
    'init.js',
    'syscalls.node',
    'usr.erofs',
    'initramfs',
    'initramfs-stream',
    'root.erofs',
    'handshake',
    'nodeos.iso',
  ];
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await hashPath(join(out, name))] as const)),
  );
}

/** Host compilers of other versions than the usual one. */
const OTHERS = ['gcc-11', 'gcc-13', 'gcc-10', 'gcc-14'];

/** A search path on which `gcc` is another one, if the machine has another one. */
async function otherCompiler(folder: string): Promise<Record<string, string>> {
  const found = async (name: string): Promise<string> =>
    exec('which', [name]).then(
      ({ stdout }) => stdout.trim(),
      () => '',
    );
  for (const gcc of OTHERS) {
    const [c, cxx] = [await found(gcc), await found(gcc.replace('gcc', 'g++'))];
    if (c === '' || cxx === '' || (await realpath(c)) === (await realpath(await found('gcc')))) continue;
    for (const [name, path] of Object.entries({ gcc: c, cc: c, 'g++': cxx, 'c++': cxx }))
      await symlink(path, join(folder, name));
    return { PATH: `${folder}:${process.env['PATH'] ?? ''}` };
  }
  return {};
}

describe('everything', () => {
  // With the toolchain, which the host's compiler compiles: what that one makes must not depend on it.
  it('built again in another folder, at another time, by another compiler, is the same to the bit', async () => {
    const other = join(await temporary(), 'a/longer/folder/elsewhere');
    await mkdir(other, { recursive: true });
    await cp(join(new Cache().root, 'sources'), join(other, 'sources'), { recursive: true });
    const [out, again] = [await temporary(), await temporary()];
    const compiler = await otherCompiler(await temporary());
    const env = { NODEOS_CACHE: other, TZ: 'Asia/Tokyo', LANG: 'de_DE.UTF-8', ...compiler };
    expect(await hashes(again, env)).toEqual(await hashes(out, {}));
  }, 3_600_000);
});

describe('the judges', () => {
  it('fsck.erofs finds the image of the runtime whole', async () => {
    const out = await temporary();
    await nodeos('build', 'usr', '--out', out);
    await expect(exec('fsck.erofs', [join(out, 'usr.erofs')])).resolves.toBeDefined(); // status 0
  });

  it('cpio reads each archive of the initramfs; file knows the kernel', async () => {
    const out = await temporary();
    await nodeos('build', 'kernel', 'initramfs', '--app', join(ROOT, 'examples/hello'), '--out', out);
    const list = await exec('bash', ['-c', `cpio -itv < ${join(out, 'initramfs')}`]);
    expect(list.stdout).toMatch(/^-rwxr-xr-x +1 root +root .* init$/m);
    expect(list.stdout).toMatch(/^crw------- +1 root +root +5, +1 .* dev\/console$/m);
    const types = await exec('file', [join(out, 'kernel'), join(out, 'vmlinux'), join(out, 'initramfs')]);
    expect(types.stdout).toMatch(/kernel: +Linux kernel x86 boot executable bzImage, version 6\.12\.\d+-nodeos/);
    expect(types.stdout).toMatch(/vmlinux: +ELF 64-bit LSB executable, x86-64/);
    expect(types.stdout).toMatch(/initramfs: +ASCII cpio archive \(SVR4 with no CRC\)/);
    expect((await readFile(join(out, 'kernel'))).length).toBeLessThanOrEqual(4 << 20);
  });
});
