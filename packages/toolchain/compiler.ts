/** A C compiler for the target, in the form that build steps use: the host's, or the toolchain's. */
import { join } from 'node:path';
import type { Target } from '@nodeos/targets';
import type { RunOptions, Step, StepContext } from '@nodeos/engine';
import { environmentOf } from './environment.js';
import type { ToolchainSteps } from './toolchain.js';

export interface Compiler {
  /** Prefix of its program names, such as `x86_64-linux-musl-`. Empty for the host's compiler. */
  readonly prefix: string;
  /** The steps that provide the compiler. A step that uses it must list them among its inputs. */
  readonly inputs: Readonly<Record<string, Step>>;
  /** The host programs that it consists of. Their versions affect the output. */
  readonly tools: readonly string[];
  /** Options for running its programs, and builds that look for them in the environment. */
  options(context: StepContext): Pick<RunOptions, 'path' | 'env'>;
  /** Flags to find the kernel's headers, for programs without a C library. */
  flags(context: StepContext): readonly string[];
}

/** The host's compiler, for a target that is like the host. */
export const HOST_COMPILER: Compiler = {
  prefix: '',
  inputs: {},
  tools: ['gcc', 'ld'],
  options: () => ({}),
  flags: () => [],
};

/**
 * The compiler for kernels and for programs without a C library: GCC and the headers. They are ready long before the C
 * library.
 */
export function bareCompiler({ gcc, headers }: ToolchainSteps): Compiler {
  return {
    prefix: `${gcc.target.cross.triplet}-`,
    inputs: { compiler: gcc, headers },
    tools: [],
    options: (context) => ({ path: [join(context.input('compiler'), 'bin')] }),
    flags: (context) => [`--sysroot=${context.input('headers')}`],
  };
}

/** The complete toolchain, which compiles any program. */
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
