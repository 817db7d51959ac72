/**
 * The compiler for C and C++, and the part of its library that needs no C library. https://gcc.gnu.org
 *
 * GCC is compiled once. Its libraries for the target come later, when there is a C library (libraries.ts): they are
 * configured on their own, with this compiler and the few generated files of its build that they include, which are
 * in `libgcc-build/`.
 */
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Target } from '@nodeos/targets';
import { patch, unpack, type Step, type StepContext } from '@nodeos/engine';
import { compilerFlags, merge, Package, PREFIX } from './autotools.js';
import { GCC } from './sources.js';

/** Below the step's output: what the libraries' own builds need of the compiler's. */
export const LEFTOVERS = 'libgcc-build';

/**
 * How much the compiler itself is optimized. Against -O2 it is made in two thirds of the time, and takes 1.1 times as long to
 * compile something: more than the first build has for it.
 */
const OWN_LEVEL = 1;

export function gcc(target: Target, binutils: Step, headers: Step): Step {
  const { triplet, gcc: more } = target.cross;
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
        ...['--disable-nls', '--disable-plugin', '--without-isl', '--without-zstd'],
        // No sanitizers: musl has no support for them. The others serve languages that are not built, or old programs.
        ...['sanitizer', 'ssp', 'quadmath', 'gomp', 'itm', 'vtv'].map((library) => `--disable-lib${library}`),
        // Hardened by default: position-independent, stack-protected; the linker adds RELRO.
        ...['--enable-default-pie', '--enable-default-ssp', '--enable-initfini-array', '--with-linker-hash-style=gnu'],
        ...['CFLAGS', 'CXXFLAGS'].map((name) => `${name}=${compilerFlags(context, OWN_LEVEL)}`),
        ...more,
      ]);
      await build.make(['configure-gcc']);
      await forgetPlaces(context);
      await build.make(['all-gcc']);
      // A libgcc for programs without a C library; `enable_shared` must reach the makes below this one.
      const withoutShared = 'MAKE=make enable_shared=no';
      await build.make([withoutShared, 'all-target-libgcc', `CFLAGS_FOR_TARGET=${compilerFlags(context)}`]);
      await merge([context.input('binutils')], context.dir);
      await build.install(['install-strip-gcc'], context.dir);
      await build.install([withoutShared, 'install-target-libgcc'], context.dir);
      // Manuals, tools that repair the headers of old systems, and a viewer of LTO files as large as a compiler.
      const tools = ['lib', 'libexec'].map((folder) => `${folder}/gcc/${triplet}/${GCC.version}/install-tools`);
      await context.run('rm', ['-rf', 'share', `bin/${triplet}-lto-dump`, ...tools], { cwd: context.dir });
      await keepLeftovers(context);
    },
  };
}

/** Tests but the self-tests, and libraries of other languages: nine of ten files. */
const WITHOUT = ['gcc/testsuite/[!s]*', 'libstdc++-v3/testsuite/*/*', 'libgomp/testsuite', 'libgo', 'libphobos'];

export async function unpackGcc(context: StepContext): Promise<void> {
  const { source, wrapping } = await unpack(context, 'gcc', { without: WITHOUT });
  // Debian's tarball lacks the manuals that its rules call not free; the makefile needs this to do without them.
  const patches = wrapping === undefined ? undefined : join(wrapping, 'usr/src/gcc-14/debian/patches');
  if (patches !== undefined) await patch(context, source, join(patches, 'gcc-gfdl-build.diff'), 2);
}

/** `gcc -v` says how it was configured: without the folders of the machine that did it. */
async function forgetPlaces(context: StepContext): Promise<void> {
  const path = join(context.work, 'build/gcc/configargs.h');
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replaceAll(context.work, '.').replaceAll(context.input('headers'), 'headers'));
}

async function keepLeftovers(context: StepContext): Promise<void> {
  const from = join(context.work, 'build/gcc');
  const to = join(context.dir, LEFTOVERS);
  await mkdir(join(to, 'include'), { recursive: true }); // libgcc's build puts a header there
  const names = (await readdir(from)).filter((name) => name.endsWith('.h') || name === 'libgcc.mvars');
  for (const name of names) await cp(join(from, name), join(to, name));
}
