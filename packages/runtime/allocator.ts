/**
 * An allocator that replaces musl's: mimalloc (https://github.com/microsoft/mimalloc), as one shared library. It is for
 * applications whose threads allocate a lot. docs/runtime.md lists its benefits and costs.
 */
import { join } from 'node:path';
import { entryPath, PATHS } from '@nodeos/contract';
import { type Target } from '@nodeos/targets';
import { unpack, type Step } from '@nodeos/engine';
import type { Compiler } from '@nodeos/toolchain';
import { MIMALLOC } from './sources.js';

/** The first one is the default: the C library's own allocator. */
export const ALLOCATORS = ['musl', 'mimalloc'] as const;
export type Allocator = (typeof ALLOCATORS)[number];

/** The library's path below a runtime's `root/`. PID 1 has it loaded before all other libraries. */
export const PRELOAD = entryPath(PATHS.preload);

/** @returns a step with one file, `preload.so` */
export function mimalloc(target: Target, compiler: Compiler): Step {
  return {
    name: 'mimalloc',
    target,
    recipe: import.meta.url,
    sources: { mimalloc: MIMALLOC },
    inputs: compiler.inputs,
    async build(context) {
      const { source } = await unpack(context, 'mimalloc');
      // Without __USE_ISOC11, mimalloc lacks aligned_alloc(), and musl's own refuses to work next to another malloc().
      const defines = [
        '-DNDEBUG',
        '-DMI_MALLOC_OVERRIDE',
        '-DMI_SHARED_LIB',
        '-DMI_SHARED_LIB_EXPORT',
        '-D__USE_ISOC11',
      ];
      const flags = ['-O2', '-g0', '-fPIC', '-shared', '-s', '-fvisibility=hidden', '-ftls-model=initial-exec'];
      // src/static.c includes all of mimalloc. Its path is relative, so that no build path gets into the library.
      const args = [...flags, ...defines, '-Iinclude', '-o', join(context.dir, 'preload.so'), 'src/static.c'];
      await context.run(`${compiler.prefix}gcc`, args, { ...compiler.options(context), cwd: source });
    },
  };
}
