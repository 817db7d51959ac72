/**
 * The kernel of @nodeos/linuxfs: Linux as a program, which serves the files of filesystems to the process that started
 * it. `nodefs/` is the file server, in C, added to the kernel's sources as `fs/nodefs`; `patches/` is what User Mode Linux
 * needs to run without a program, without ptrace and without root. Both are GPL-2.0, as the kernel is.
 *
 * Output: `linux`, a static program.
 */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NodeosError } from '@nodeos/base';
import { artifact, patchAll, unpack, type Artifact, type Step, type StepContext } from '@nodeos/engine';
import { fragmentPaths, LINUX, lostOptions, readFragments, REPRODUCIBLE, UNNEEDED_PATHS } from '@nodeos/kernel';
import type { Target } from '@nodeos/targets';
import type { Compiler } from '@nodeos/toolchain';

const HERE = fileURLToPath(new URL('..', import.meta.url));

/** @param target must be x86_64: Linux 6.12 runs as a program on x86 alone */
export function linuxfsKernel(target: Target, compiler: Compiler): Artifact<'program'> {
  const step: Step = {
    name: 'linuxfs-kernel',
    target,
    recipe: import.meta.url,
    parameters: {},
    sources: { linux: LINUX },
    files: { config: join(HERE, 'config'), patches: join(HERE, 'patches'), nodefs: join(HERE, 'nodefs') },
    inputs: compiler.inputs,
    tools: [...compiler.tools, 'make'],
    async build(context) {
      const { source } = await unpack(context, 'linux', { exclude: UNNEEDED_PATHS });
      await patchAll(context, source, context.file('patches'));
      await cp(context.file('nodefs'), join(source, 'fs/nodefs'), { recursive: true });
      await mkdir(join(context.work, 'build'));
      await configure(context, compiler);
      await make(context, compiler, 'vmlinux');
      const strip = ['-s', '-o', join(context.dir, 'linux'), 'build/vmlinux'];
      await context.run(`${compiler.prefix}strip`, strip, compiler.options(context));
    },
  };
  return artifact(step, 'program', 'linux');
}

async function configure(context: StepContext, compiler: Compiler): Promise<void> {
  const fragments = await readFragments(await fragmentPaths(context.file('config')));
  const combined = join(context.work, 'all.config');
  await writeFile(combined, fragments.map(({ text }) => text).join('\n'));
  await make(context, compiler, 'allnoconfig', { KCONFIG_ALLCONFIG: combined });
  const lost = lostOptions(fragments, await readFile(join(context.work, 'build/.config'), 'utf8'));
  if (lost.length > 0) throw new NodeosError(`${lost.length} kernel options got lost`, { lines: lost });
}

async function make(
  context: StepContext,
  compiler: Compiler,
  goal: string,
  env: Record<string, string> = {},
): Promise<void> {
  const { path } = compiler.options(context);
  const variables = [
    `O=${join(context.work, 'build')}`,
    'ARCH=um',
    'SUBARCH=x86_64',
    `CROSS_COMPILE=${compiler.prefix}`,
  ];
  await context.run('make', ['-C', 'linux', ...variables, `-j${context.jobs}`, goal], {
    ...(path === undefined ? {} : { path }),
    env: { ...REPRODUCIBLE, ...env },
  });
}
