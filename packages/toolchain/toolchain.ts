/**
 * The steps that build a target's cross-toolchain, in the manner of Cross Linux From Scratch:
 *
 *     binutils, headers → gcc → musl → libraries → toolchain
 *
 * The output of the last step is a folder that works wherever it is moved to:
 *
 *     bin/TRIPLET-gcc …          the programs
 *     TRIPLET/sysroot/           musl and the headers
 *     TRIPLET/lib*, lib/gcc/     libstdc++, libgcc, libatomic: static and shared
 *     toolchain.cmake, meson.cross
 */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Target } from '@nodeos/targets';
import type { Source, Step } from '@nodeos/engine';
import { merge } from './autotools.js';
import { binutils } from './binutils.js';
import { cmakeFile, mesonFile } from './environment.js';
import { gcc, LIBGCC_BUILD } from './gcc.js';
import { headers } from './headers.js';
import { libraries } from './libraries.js';
import { musl } from './musl.js';

/** The steps whose outputs other layers use. */
export interface ToolchainSteps {
  /** The compiler, without a C library. */
  readonly gcc: Step;
  /** The headers of the kernel and of the C library, as a sysroot. */
  readonly headers: Step;
  /** The complete toolchain. */
  readonly toolchain: Step;
}

/** @param linux the kernel source that provides the kernel's headers */
export function toolchainSteps(target: Target, linux: Source): ToolchainSteps {
  const headersStep = headers(target, linux);
  const compiler = gcc(target, binutils(target), headersStep);
  return { gcc: compiler, headers: headersStep, toolchain: completeToolchain(target, compiler, headersStep) };
}

function completeToolchain(target: Target, compiler: Step, headersStep: Step): Step {
  const sysroot = musl(target, compiler, headersStep);
  return {
    name: 'toolchain',
    target,
    recipe: import.meta.url,
    inputs: { compiler, sysroot, libraries: libraries(target, compiler, sysroot) },
    async build(context) {
      await merge([context.input('compiler'), context.input('libraries')], context.dir);
      await rm(join(context.dir, LIBGCC_BUILD), { recursive: true });
      await merge([context.input('sysroot')], join(context.dir, target.cross.triplet, 'sysroot'));
      await writeFile(join(context.dir, 'toolchain.cmake'), cmakeFile(target));
      await writeFile(join(context.dir, 'meson.cross'), mesonFile(target));
    },
  };
}
