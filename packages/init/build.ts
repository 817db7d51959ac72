/**
 * What runs on the target, as one step:
 *
 *     init            PID 1, static (native/pid1.c)
 *     nbd-attach      the part of it that attaches network block devices, as a program (native/nbd-attach.c)
 *     init.js         the init, one file of CommonJS, which Node.js loads faster than a dozen modules
 *     syscalls.node   the init's addon, compiled against the runtime's own headers
 */
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { contractHeader } from '@nodeos/contract';
import type { Target } from '@nodeos/targets';
import type { Step, StepContext } from '@nodeos/engine';
import type { Compiler } from '@nodeos/toolchain';

const HERE = fileURLToPath(new URL('..', import.meta.url));

/** Of it the bundle has what it uses. */
const CONTRACT = createRequire(import.meta.url).resolve('@nodeos/contract');

const COMMON = [
  '-O2',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-ffreestanding',
  '-nostdlib',
  '-fno-ident',
  '-s',
  '-Wl,--build-id=none',
];
/** Without a C library there is nobody to handle a smashed stack, nor to unwind one. */
const NO_LIBC = ['-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-fno-tree-loop-distribute-patterns'];

/** Programs that run by themselves; small before fast. */
const STATIC = ['-Os', '-static', '-fno-pie', '-no-pie', '-Wl,-z,noexecstack'];

/** @param runtime a step with the output that `@nodeos/runtime` describes */
export function init(target: Target, runtime: Step, compiler: Compiler): Step {
  return {
    name: 'init',
    target,
    recipe: import.meta.url,
    files: { native: join(HERE, 'native'), guest: join(HERE, 'dist/guest') },
    inputs: { runtime, ...compiler.inputs },
    tools: compiler.tools,
    async build(context) {
      await writeFile(join(context.work, 'contract.h'), contractHeader());
      const compile = compileWith(context, compiler);
      await compile('init', ['pid1.c', 'freestanding.c'], STATIC);
      await compile('nbd-attach', ['nbd-attach.c', 'freestanding.c'], STATIC);
      const headers = join(context.input('runtime'), 'include/node');
      await compile('syscalls.node', ['addon.c', 'freestanding.c'], ['-shared', '-fPIC', `-I${headers}`]);
      await bundle(context);
    },
  };
}

type Compile = (name: string, sources: readonly string[], options: readonly string[]) => Promise<void>;

const compileWith =
  (context: StepContext, compiler: Compiler): Compile =>
  async (name, sources, options) => {
    const flags = [...COMMON, ...NO_LIBC, ...compiler.flags(context), ...options, `-I${context.work}`];
    // In the folder of the sources and by their names, so that no path of this machine gets into the output.
    await context.run(`${compiler.prefix}gcc`, [...flags, '-o', join(context.dir, name), ...sources], {
      ...compiler.options(context),
      cwd: context.file('native'),
    });
  };

async function bundle(context: StepContext): Promise<void> {
  context.progress('bundling the init');
  const { build } = await import('esbuild');
  await build({
    // The names of the modules, in comments of the bundle, are relative to this folder.
    absWorkingDir: context.file('guest'),
    entryPoints: ['main.js'],
    alias: { '@nodeos/contract': CONTRACT },
    outfile: join(context.dir, 'init.js'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    legalComments: 'none',
    logLevel: 'silent',
  });
}
