/** A C compiler for the target, as the steps that compile something take it: the host's, or the toolchain's. */
import { join } from 'node:path';
import type { Target } from '@nodeos/targets';
import type { RunOptions, Step, StepContext } from '@nodeos/engine';
import { environmentOf } from './environment.js';
import type { ToolchainSteps } from './toolchain.js';

export interface Compiler {
  /** What the names of its programs begin with, as `x86_64-linux-musl-`. */
  readonly prefix: string;
  /** The steps that it comes from, to be among the inputs of the step that uses it. */
  readonly inputs: Readonly<Record<string, Step>>;
  /** The programs of the host that it is made of: their versions change what it makes. */
  readonly tools: readonly string[];
  /** How the step runs its programs, and builds that look for them in the environment. */
  options(context: StepContext): Pick<RunOptions, 'path' | 'env'>;
  /** What a program without a C library is compiled with, to find the kernel's headers. */
  flags(context: StepContext): readonly string[];
}

/** The host's own, for a target that is like the host. */
export const HOST_COMPILER: Compiler = {
  prefix: '',
  inputs: {},
  tools: ['gcc', 'ld'],
  options: () => ({}),
  flags: () => [],
};

/** For kernels and programs without a C library: GCC and the headers, which are there long before the C library. */
export function bareCompiler({ gcc, headers }: ToolchainSteps): Compiler {
  return {
    prefix: `${gcc.target.cross.triplet}-`,
    inputs: { compiler: gcc, headers },
    tools: [],
    options: (context) => ({ path: [join(context.input('compiler'), 'bin')] }),
    flags: (context) => [`--sysroot=${context.input('headers')}`],
  };
}

/** For programs of all kinds: the whole toolchain. */
export function crossCompiler(target: Target, { toolchain }: ToolchainSteps): Compiler {
  return {
    prefix: `${target.cross.triplet}-`,
    inputs: { toolchain },
    tools: [],
    options(context) {
      const folder = context.input('toolchain');
      return { path: [join(folder, 'bin')], env: environmentOf(target, folder) };
    },
    flags: () => [],
  };
}
