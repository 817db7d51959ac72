/**
 * An allocator that takes the place of musl's: mimalloc (https://github.com/microsoft/mimalloc), one shared library. It
 * is for applications whose threads allocate much; docs/runtime.md says what it gives and costs.
 */
import { join } from 'node:path';
import { entryPath, PATHS } from '@nodeos/contract';
import { type Target } from '@nodeos/targets';
import { unpack, type Step } from '@nodeos/engine';
import type { Compiler } from '@nodeos/toolchain';
import { MIMALLOC } from './sources.js';

/** The first is the default: the C library's own. */
export const ALLOCATORS = ['musl', 'mimalloc'] as const;
export type Allocator = (typeof ALLOCATORS)[number];

/** Below a runtime's `root/`: a library that PID 1 has loaded before all others. */
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
      // Without the last there would be no aligned_alloc(), and musl's would refuse to work beside the others.
      const defines = [
        '-DNDEBUG',
        '-DMI_MALLOC_OVERRIDE',
        '-DMI_SHARED_LIB',
        '-DMI_SHARED_LIB_EXPORT',
        '-D__USE_ISOC11',
      ];
      const flags = ['-O2', '-g0', '-fPIC', '-shared', '-s', '-fvisibility=hidden', '-ftls-model=initial-exec'];
      // All of it is included by one file; it is named relative to the folder, so that no path gets into the library.
      const args = [...flags, ...defines, '-Iinclude', '-o', join(context.dir, 'preload.so'), 'src/static.c'];
      await context.run(`${compiler.prefix}gcc`, args, { ...compiler.options(context), cwd: source });
    },
  };
}
