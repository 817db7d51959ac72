/** The cross-toolchain at work: what it compiles runs in the guest. The first run builds it, which takes its time. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { sha256 } from '@nodeos/base';
import { Cache } from '@nodeos/engine';
import { describe, expect, it } from 'vitest';
import { application, LONG, nodeos, temporary } from '../support.js';

const exec = promisify(execFile);
const HERE = fileURLToPath(new URL('.', import.meta.url));
const TRIPLET = 'x86_64-linux-musl';
const LOADER = 'ld-musl-x86_64.so.1';
let toolchain = '';

const source = (name: string): string => join(HERE, name);

async function compile(tool: string, args: string[], where = toolchain): Promise<void> {
  await exec(join(where, 'bin', `${TRIPLET}-${tool}`), args);
}

/** Runs programs in a guest that has the folder's files in /app. */
async function inGuest(folder: string, code: string): Promise<string> {
  const { status, stdout, stderr } = await nodeos('start', folder, '--exec', code, '--timeout', '60');
  expect(status, stdout + stderr).toBe(0);
  return stdout;
}

const run = (program: string, args: string[] = []): string =>
  `process.stdout.write(require('child_process').execFileSync(${JSON.stringify(program)}, ${JSON.stringify(args)}))`;

it('is built from its sources', { timeout: LONG }, async () => {
  const { status, stdout, stderr } = await nodeos('toolchain', 'build');
  expect(status, stderr).toBe(0);
  toolchain = stdout.trim();
});

describe('what it compiles', () => {
  it.each([
    ['static', ['-static']],
    ['static and position-independent', ['-static-pie']],
    ['optimized at link time', ['-static', '-flto', '-O3']],
  ])('runs: %s', async (_kind, options) => {
    const app = await application({ 'main.js': '' });
    await compile('g++', [
      '-O2',
      ...options,
      '-o',
      join(app, 'program'),
      source('programs.cc'),
      source('thrower.cc'),
      '-latomic',
    ]);
    expect(await inGuest(app, run('/app/program'))).toBe('good\n');
  });

  it('runs: with shared libraries, and one that is loaded later', async () => {
    const app = await application({ 'main.js': '' });
    const lib = join(app, 'lib');
    await mkdir(lib);
    const libraries = join(toolchain, TRIPLET, 'lib64');
    for (const name of ['libstdc++.so.6', 'libgcc_s.so.1', 'libatomic.so.1'])
      await cp(join(libraries, name), join(lib, name), { dereference: true });
    await cp(join(toolchain, TRIPLET, 'sysroot/usr/lib/libc.so'), join(lib, LOADER));
    await cp(join(toolchain, TRIPLET, 'sysroot/usr/lib/libc.so'), join(lib, 'libc.so'));
    await compile('g++', ['-O2', '-shared', '-fPIC', '-o', join(lib, 'libthrower.so'), source('thrower.cc')]);
    await compile('gcc', ['-O2', '-shared', '-fPIC', '-o', join(lib, 'plugin.so'), source('plugin.c')]);
    await compile('g++', [
      ...['-O2', '-o', join(app, 'program'), source('programs.cc'), `-L${lib}`, '-lthrower', '-latomic'],
      ...['-Wl,-rpath,/app/lib', `-Wl,--dynamic-linker=/app/lib/${LOADER}`],
    ]);
    const { stdout } = await exec('readelf', ['-dlW', join(app, 'program')]);
    for (const word of ['NEEDED.*libstdc\\+\\+', 'GNU_RELRO', 'GNU_STACK .* RW ', 'BIND_NOW|FLAGS.*PIE'])
      expect(stdout).toMatch(new RegExp(word));
    expect(stdout).not.toContain('TEXTREL');
    expect(await inGuest(app, run('/app/program', ['/app/lib/plugin.so']))).toBe('good\n');
  });
});

describe('the toolchain', () => {
  it('moved to another folder, and read-only, compiles the same bytes', { timeout: 300_000 }, async () => {
    const moved = join(await temporary(), 'elsewhere');
    await cp(toolchain, moved, { recursive: true, verbatimSymlinks: true });
    await exec('chmod', ['-R', 'a-w', moved]);
    const out = await temporary();
    const hashes: string[] = [];
    for (const where of [toolchain, moved]) {
      await compile(
        'g++',
        ['-O2', '-static', '-o', join(out, 'program'), source('programs.cc'), source('thrower.cc'), '-latomic'],
        where,
      );
      hashes.push(sha256(await readFile(join(out, 'program'))));
    }
    expect(hashes[1]).toBe(hashes[0]);
    await exec('chmod', ['-R', 'u+w', moved]);
  });

  it('has no word of the folders that it was built in, and is at most 220 MB', async () => {
    const names = await readdir(toolchain, { recursive: true, withFileTypes: true });
    const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const inodes = new Map((await Promise.all(files.map((path) => stat(path)))).map(({ ino, size }) => [ino, size]));
    const bytes = [...inodes.values()].reduce((sum, size) => sum + size, 0);
    expect(bytes).toBeLessThan(220e6);
    const { root } = new Cache();
    const tainted = [];
    for (const path of files) if ((await readFile(path)).includes(root)) tainted.push(path);
    expect(tainted).toEqual([]);
  });

  it('has a cross file that Meson takes', { timeout: 300_000 }, async () => {
    const [app, project, out] = [await application({ 'main.js': '' }), await temporary(), await temporary()];
    const program = "executable('program', 'programs.cc', 'thrower.cc', link_args: ['-static', '-latomic'])";
    await writeFile(join(project, 'meson.build'), `project('program', 'cpp')\n${program}\n`);
    for (const name of ['programs.cc', 'thrower.cc']) await cp(source(name), join(project, name));
    const meson = ['meson', 'setup', '--cross-file', join(toolchain, 'meson.cross'), out, project];
    for (const command of [meson, ['ninja', '-C', out]]) {
      const built = await nodeos('toolchain', 'run', '--', ...command);
      expect(built.status, built.stdout + built.stderr).toBe(0);
    }
    await cp(join(out, 'program'), join(app, 'program'));
    expect(await inGuest(app, run('/app/program'))).toBe('good\n');
  });

  it('lends its environment to other programs, with their exit status', async () => {
    const dir = await temporary();
    const made = await nodeos(
      'toolchain',
      'run',
      '--',
      'sh',
      '-c',
      `echo 'int main(void){return 5;}' > ${dir}/a.c && $CC -static -o ${dir}/a ${dir}/a.c && ${dir}/a`,
    );
    expect(made.status).toBe(5);
    const { stdout } = await nodeos('toolchain', 'env');
    const shown = await exec('sh', ['-c', `${stdout}\necho "$CC $npm_config_libc $CMAKE_TOOLCHAIN_FILE"`]);
    expect(shown.stdout).toBe(`${TRIPLET}-gcc musl ${toolchain}/toolchain.cmake\n`);
  });
});
