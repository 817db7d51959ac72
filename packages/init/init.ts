/**
 * Builds the programs of the target in one step:
 *
 *     init            PID 1, static (pid1/pid1.c)
 *     init.js         the init in one CommonJS file, which Node.js loads faster than a dozen modules
 *     syscalls.node   the init's addon, compiled with the runtime's own headers
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Target } from '@nodeos/targets';
import type { Step, StepContext } from '@nodeos/engine';
import type { Compiler } from '@nodeos/toolchain';
import { ADDON, compileProgram, nativeFiles, PID1 } from './programs.js';

const GUEST = fileURLToPath(new URL('guest', import.meta.url));

/** @param runtime a step with the output that `@nodeos/runtime` describes */
export function init(target: Target, runtime: Step, compiler: Compiler): Step {
  return {
    name: 'init',
    target,
    recipe: import.meta.url,
    files: { ...nativeFiles('lib', 'netroot', 'pid1', 'addon'), guest: GUEST },
    inputs: { runtime, ...compiler.inputs },
    tools: compiler.tools,
    isLocal: compiler.tools.length > 0,
    async build(context) {
      const headers = join(context.input('runtime'), 'include/node');
      await compileProgram(context, compiler, PID1);
      await compileProgram(context, compiler, ADDON, [`-I${headers}`]);
      await bundle(context);
    },
  };
}

async function bundle(context: StepContext): Promise<void> {
  context.progress('bundling the init');
  const { build } = await import('esbuild');
  await build({
    // esbuild writes module names into comments of the bundle, relative to this folder.
    absWorkingDir: context.file('guest'),
    entryPoints: ['main.js'],
    // The bundle contains only the used parts of the contract.
    alias: { '@nodeos/contract': createRequire(import.meta.url).resolve('@nodeos/contract') },
    outfile: join(context.dir, 'init.js'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    legalComments: 'none',
    logLevel: 'silent',
  });
}
