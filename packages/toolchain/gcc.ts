/**
 * The C and C++ compilers, and the part of libgcc that needs no C library. https://gcc.gnu.org
 *
 * GCC is compiled once. Its target libraries need a C library, so a later step builds them (libraries.ts) with this
 * compiler. They include a few generated files of the compiler's build. This step keeps those files in `libgcc-build/`.
 */
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Target } from '@nodeos/targets';
import { patch, unpack, type Step, type StepContext } from '@nodeos/engine';
import { compilerFlags, merge, Package, PREFIX } from './autotools.js';
import { GCC } from './sources.js';

/** The folder in the step's output with the files of the compiler's build that the libraries' builds need. */
export const LIBGCC_BUILD = 'libgcc-build';

/**
 * Optimization level of the compiler itself. Compared with -O2, building it takes two thirds of the time, and it takes
 * 1.1 times as long to compile something. The first build saves more time than it loses.
 */
const OPTIMIZATION_LEVEL = 1;

export function gcc(target: Target, binutils: Step, headers: Step): Step {
  const { triplet, gcc: extraOptions } = target.cross;
  return {
    name: 'toolchain-gcc',
    target,
    recipe: import.meta.url,
    sources: { gcc: GCC },
    tools: ['gcc', 'ld', 'make'],
    inputs: { binutils, headers },
    async build(context) {
      await unpackGcc(context);
      const build = new Package(context, 'build', { path: [join(context.input('binutils'), 'bin')] });
      await build.configure('../gcc/configure', [
        ...[`--target=${triplet}`, `--prefix=${PREFIX}`, `--with-sysroot=${PREFIX}/${triplet}/sysroot`],
        ...[`--with-build-sysroot=${context.input('headers')}`, '--with-native-system-header-dir=/usr/include'],
        ...['--enable-languages=c,c++', '--enable-checking=release', '--disable-bootstrap', '--disable-multilib'],
        // The static analyzer is a twentieth of the compiler's own code.
        ...['--disable-nls', '--disable-plugin', '--disable-analyzer', '--without-isl', '--without-zstd'],
        // musl does not support sanitizers. The other libraries serve languages that are not built, or old programs.
        ...['sanitizer', 'ssp', 'quadmath', 'gomp', 'itm', 'vtv'].map((library) => `--disable-lib${library}`),
        // Hardened by default: position-independent code and the stack protector. The linker adds RELRO.
        ...['--enable-default-pie', '--enable-default-ssp', '--enable-initfini-array', '--with-linker-hash-style=gnu'],
        // The flags name no folder: a checksum of them is part of the compiler. Without -g, it contains no paths.
        ...['CFLAGS', 'CXXFLAGS'].map((name) => `${name}=-O${OPTIMIZATION_LEVEL} -g0`),
        ...extraOptions,
      ]);
      await build.make(['configure-gcc']);
      await removeBuildPaths(context);
      await build.make(['all-gcc']);
      // A static libgcc, for programs without a C library. `MAKE` passes `enable_shared` on to nested makes.
      // libgcc's makefile appends a -g of its own, which would record the folder of the kernel's headers.
      const targetFlags = [`CFLAGS_FOR_TARGET=${compilerFlags(context)}`, 'LIBGCC2_DEBUG_CFLAGS=-g0'];
      const withoutShared = 'MAKE=make enable_shared=no';
      await build.make([withoutShared, 'all-target-libgcc', ...targetFlags]);
      await merge([context.input('binutils')], context.dir);
      await build.install(['install-strip-gcc'], context.dir);
      await build.install([withoutShared, 'install-target-libgcc'], context.dir);
      // Remove manuals, tools that repair headers of old systems, and a viewer of LTO files as large as a compiler.
      const tools = ['lib', 'libexec'].map((folder) => `${folder}/gcc/${triplet}/${GCC.version}/install-tools`);
      await context.run('rm', ['-rf', 'share', `bin/${triplet}-lto-dump`, ...tools], { cwd: context.dir });
      await copyLibgccBuild(context);
    },
  };
}

/** Tests, and libraries of languages that are not built. They are nine of ten files. The makefile needs `selftests`. */
const WITHOUT = ['gcc/testsuite/[!s]*', 'libstdc++-v3/testsuite/*/*', 'libgomp/testsuite', 'libgo', 'libphobos'];

export async function unpackGcc(context: StepContext): Promise<void> {
  const { source, wrapping } = await unpack(context, 'gcc', { exclude: WITHOUT });
  // Debian's tarball lacks the manuals, which are not free by Debian's rules. The patch makes the makefile accept that.
  const patches = wrapping === undefined ? undefined : join(wrapping, 'usr/src/gcc-14/debian/patches');
  if (patches !== undefined) await patch(context, source, join(patches, 'gcc-gfdl-build.diff'), 2);
}

/** Removes the build machine's folders from the configure options that `gcc -v` prints. */
async function removeBuildPaths(context: StepContext): Promise<void> {
  const path = join(context.work, 'build/gcc/configargs.h');
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replaceAll(context.work, '.').replaceAll(context.input('headers'), 'headers'));
}

async function copyLibgccBuild(context: StepContext): Promise<void> {
  const from = join(context.work, 'build/gcc');
  const to = join(context.dir, LIBGCC_BUILD);
  await mkdir(join(to, 'include'), { recursive: true }); // libgcc's build writes a header there
  const names = (await readdir(from)).filter((name) => name.endsWith('.h') || name === 'libgcc.mvars');
  for (const name of names) await cp(join(from, name), join(to, name));
}
