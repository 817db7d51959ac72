/** The assembler, the linker and the tools for object files. https://sourceware.org/binutils/ */
import { type Target } from '@nodeos/targets';
import { unpack, type Step } from '@nodeos/engine';
import { compilerFlags, Package, PREFIX } from './autotools.js';
import { BINUTILS } from './sources.js';

export function binutils(target: Target): Step {
  const { triplet } = target.cross;
  return {
    name: 'toolchain-binutils',
    target,
    recipe: import.meta.url,
    sources: { binutils: BINUTILS },
    tools: ['gcc', 'ld', 'make'],
    async build(context) {
      // Leave out the tests, which are seven of eight files.
      await unpack(context, 'binutils', { exclude: ['gas', 'ld'].map((name) => `${name}/testsuite`) });
      const build = new Package(context, 'build');
      await build.configure('../binutils/configure', [
        ...[`--target=${triplet}`, `--prefix=${PREFIX}`, `--with-sysroot=${PREFIX}/${triplet}/sysroot`],
        ...['--disable-nls', '--disable-multilib', '--disable-gdb', '--disable-gprofng', '--disable-werror'],
        // The output must not depend on which libraries the build machine happens to have.
        ...['--without-zstd', '--without-debuginfod', '--without-msgpack'],
        // Archives contain no times and owners. The linker's defaults are those of a hardened distribution.
        ...['--enable-deterministic-archives', '--enable-plugins', '--enable-relro', '--enable-separate-code'],
        ...['--enable-default-hash-style=gnu', '--enable-new-dtags'],
        ...[`CFLAGS=${compilerFlags(context)}`, `CXXFLAGS=${compilerFlags(context)}`],
      ]);
      await build.make();
      await build.install(['install-strip'], context.dir);
      await context.run('rm', ['-rf', 'share', 'include'], { cwd: context.dir });
    },
  };
}
