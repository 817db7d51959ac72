/**
 * GCC's target libraries, which need a C library: libgcc (static and shared), libstdc++ and libatomic. Each is
 * configured on its own with the finished compiler. Their build folders are next to each other, because a library looks
 * for its siblings there.
 */
import { cp, lstat, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Target } from '@nodeos/targets';
import type { RunOptions, Step, StepContext } from '@nodeos/engine';
import { compilerFlags, merge, Package, PREFIX } from './autotools.js';
import { LIBGCC_BUILD, unpackGcc } from './gcc.js';
import { GCC } from './sources.js';

interface Library {
  readonly name: string;
  readonly options?: (triplet: string) => readonly string[];
  /** The C++ compiler's command line, without the triplet at its start. Default: `g++`. */
  readonly cxx?: string;
  /** Completes the installed library. `installed` is the folder that it was installed into. */
  readonly finish?: (context: StepContext, installed: string) => Promise<void>;
}

/** Each library needs those before it. */
const LIBRARIES: readonly Library[] = [
  { name: 'libgcc', finish: addStackCheck },
  {
    name: 'libstdc++-v3',
    // The same command as in GCC's own build. `g++` would link with libstdc++, which does not exist yet. Every check of
    // the configure script that links would fail, and std::filesystem would recognize no file type.
    cxx: 'gcc -shared-libgcc -nostdinc++',
    options: (triplet) => [
      ...['--disable-nls', '--disable-libstdcxx-pch'],
      `--with-gxx-include-dir=${PREFIX}/${triplet}/include/c++/${GCC.version}`,
    ],
  },
  { name: 'libatomic' },
];

/**
 * @param compiler the step of `gcc.ts`
 * @param sysroot the step of `musl.ts`
 * @returns a step whose output is to be merged into the compiler's folder
 */
export function libraries(target: Target, compiler: Step, sysroot: Step): Step {
  return {
    name: 'toolchain-libraries',
    target,
    recipe: import.meta.url,
    sources: { gcc: GCC },
    tools: ['make'],
    inputs: { compiler, sysroot },
    async build(context) {
      await unpackGcc(context);
      // Each library is installed into this copy of the compiler, because libstdc++ is compiled with the new libgcc.
      const toolchain = join(context.work, 'toolchain');
      await merge([context.input('compiler')], toolchain);
      await mkdir(join(context.work, 'build', target.cross.triplet), { recursive: true });
      await rename(join(toolchain, LIBGCC_BUILD), join(context.work, 'build/gcc'));
      for (const library of LIBRARIES) {
        context.progress(`building ${library.name}`);
        await make(context, toolchain, library);
      }
    },
  };
}

async function make(context: StepContext, toolchain: string, library: Library): Promise<void> {
  const { name } = library;
  const { triplet } = context.target.cross;
  const build = new Package(context, `build/${triplet}/${name}`, environment(context, toolchain, library));
  const host = (await context.run('gcc', ['-dumpmachine'])).stdout.trim();
  await build.configure(`../../../gcc/${name}/configure`, [
    ...[`--build=${host}`, `--host=${triplet}`, `--target=${triplet}`, `--with-cross-host=${host}`],
    ...[`--prefix=${PREFIX}`, '--disable-multilib', '--enable-shared'],
    ...(library.options?.(triplet) ?? []),
  ]);
  await build.make();
  const installed = join(context.work, `${name}-installed`);
  await build.install(['install'], installed);
  await tidy(context, installed);
  await library.finish?.(context, installed);
  for (const to of [toolchain, context.dir]) await cp(installed, to, { recursive: true, verbatimSymlinks: true });
}

/** Strips debug information from libraries, and removes files of libtool and gdb, which contain build paths. */
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

/**
 * Adds `__stack_chk_fail_local` to libgcc. On some machines (i686), the stack protector of position-independent code
 * calls this function, and every program and library needs a hidden copy of it. musl does not export its own copy, so
 * the linker takes the one in libgcc.
 */
async function addStackCheck(context: StepContext, installed: string): Promise<void> {
  const tool = (name: string): string =>
    join(context.input('compiler'), 'bin', `${context.target.cross.triplet}-${name}`);
  const [name, hidden] = ['stack_chk_fail_local', '__attribute__((visibility("hidden")))'];
  const code = `void __stack_chk_fail(void);\n${hidden} void __${name}(void) { __stack_chk_fail(); }\n`;
  await writeFile(join(context.work, `${name}.c`), code);
  await context.run(tool('gcc'), ['-O2', '-fPIC', '-fno-stack-protector', '-c', `${name}.c`]);
  const archive = join('lib/gcc', context.target.cross.triplet, GCC.version, 'libgcc.a');
  await context.run(tool('ar'), ['rcsD', join(installed, archive), `${name}.o`]);
}

function environment(
  context: StepContext,
  toolchain: string,
  { cxx = 'g++' }: Library,
): Pick<RunOptions, 'path' | 'env'> {
  const { triplet } = context.target.cross;
  const flags = compilerFlags(context);
  const compiler = (command: string): string => `${triplet}-${command} --sysroot=${context.input('sysroot')}`;
  const tools = ['ar', 'as', 'ld', 'nm', 'objdump', 'ranlib', 'strip'];
  const env = {
    CC: compiler('gcc'),
    CXX: compiler(cxx),
    CFLAGS: flags,
    CXXFLAGS: flags,
    ...Object.fromEntries(tools.map((tool) => [tool.toUpperCase(), `${triplet}-${tool}`])),
  };
  return { path: [join(toolchain, 'bin')], env };
}
