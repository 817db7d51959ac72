/**
 * GCC's libraries for the target, now that there is a C library: libgcc (static and shared), libstdc++ and libatomic.
 * Each is configured on its own with the finished compiler, in the places beside each other where it looks for its
 * siblings.
 */
import { cp, lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Step, StepContext, Target } from '@nodeos/build';
import { merge, Package, pathWith, PREFIX } from './autotools.js';
import { LEFTOVERS, unpackGcc } from './gcc.js';
import { GCC } from './sources.js';

/** In the order in which they need each other. */
const LIBRARIES: readonly (readonly [name: string, options: (triplet: string) => readonly string[]])[] = [
  ['libgcc', () => []],
  [
    'libstdc++-v3',
    (triplet) => [
      ...['--disable-nls', '--disable-libstdcxx-pch'],
      `--with-gxx-include-dir=${PREFIX}/${triplet}/include/c++/${GCC.version}`,
    ],
  ],
  ['libatomic', () => []],
];

/**
 * @param compiler the step of `gcc.ts`
 * @param sysroot the step of `musl.ts`
 * @returns a step whose output belongs into the compiler's folder
 */
export function libraries(target: Target, compiler: Step, sysroot: Step): Step {
  return {
    name: 'toolchain-libraries',
    target,
    recipe: import.meta.url,
    parameters: { cross: target.cross },
    sources: { gcc: GCC },
    tools: ['make'],
    inputs: { compiler, sysroot },
    async build(context) {
      await unpackGcc(context);
      // A copy: libstdc++ is compiled with the libgcc that is installed before it.
      const toolchain = join(context.work, 'toolchain');
      await merge([context.input('compiler')], toolchain);
      await mkdir(join(context.work, 'build', target.cross.triplet), { recursive: true });
      await rename(join(toolchain, LEFTOVERS), join(context.work, 'build/gcc'));
      for (const [name, options] of LIBRARIES) {
        context.progress(`building ${name}`);
        await library(context, toolchain, name, options(target.cross.triplet));
      }
    },
  };
}

async function library(
  context: StepContext,
  toolchain: string,
  name: string,
  options: readonly string[],
): Promise<void> {
  const { triplet } = context.target.cross;
  const build = new Package(context, `build/${triplet}/${name}`, environment(context, toolchain));
  const host = (await context.run('gcc', ['-dumpmachine'])).stdout.trim();
  await build.configure(`../../../gcc/${name}/configure`, [
    ...[`--build=${host}`, `--host=${triplet}`, `--target=${triplet}`, `--with-cross-host=${host}`],
    ...[`--prefix=${PREFIX}`, '--disable-multilib', '--enable-shared'],
    ...options,
  ]);
  await build.make();
  const installed = join(context.work, `${name}-installed`);
  await build.install(['install'], installed);
  await tidy(context, installed);
  for (const to of [toolchain, context.dir]) await cp(installed, to, { recursive: true, verbatimSymlinks: true });
}

/** Libraries without debug information; no files of libtool's and gdb's, which name folders of this build. */
async function tidy(context: StepContext, installed: string): Promise<void> {
  const names = await readdir(installed, { recursive: true });
  const strip = join(context.input('compiler'), 'bin', `${context.target.cross.triplet}-strip`);
  for (const name of names.map((path) => join(installed, path))) {
    if (/\.la$|-gdb\.py$/.test(name)) await rm(name);
    else if (/\.(a|o)$/.test(name))
      await context.run(strip, ['--strip-debug', '--enable-deterministic-archives', name]);
    else if (/\.so\.[\d.]+$/.test(name) && !(await lstat(name)).isSymbolicLink())
      await context.run(strip, ['--strip-unneeded', name]);
  }
}

function environment(context: StepContext, toolchain: string): Record<string, string> {
  const { triplet } = context.target.cross;
  const flags = `-O2 -g0 -ffile-prefix-map=${context.work}=.`;
  const compiler = (name: string): string => `${triplet}-${name} --sysroot=${context.input('sysroot')}`;
  const tools = ['ar', 'as', 'ld', 'nm', 'objdump', 'ranlib', 'strip'];
  return {
    PATH: pathWith(toolchain),
    CC: compiler('gcc'),
    CXX: compiler('g++'),
    CFLAGS: flags,
    CXXFLAGS: flags,
    ...Object.fromEntries(tools.map((tool) => [tool.toUpperCase(), `${triplet}-${tool}`])),
  };
}
