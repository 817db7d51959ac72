/**
 * The kernels of @nodeos/linuxfs, which serve the files of filesystems to the process that started them: Linux as a
 * program, and Linux for a virtual machine of QEMU. `nodefs/` is the file server, in C, added to the kernel's sources as
 * `fs/nodefs`; `patches/` is what User Mode Linux needs to run without a program, without ptrace and without root. Both
 * are GPL-2.0, as the kernel is.
 *
 * Output: `linux`, a static program; or `kernel`, which QEMU starts without a firmware.
 */
import { copyFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NodeosError } from '@nodeos/base';
import { artifact, patchAll, unpack, type Artifact, type Step, type StepContext } from '@nodeos/engine';
import { fragmentPaths, LINUX, lostOptions, readFragments, REPRODUCIBLE, UNNEEDED_PATHS } from '@nodeos/kernel';
import type { Target } from '@nodeos/targets';
import type { Compiler } from '@nodeos/toolchain';

const HERE = fileURLToPath(new URL('..', import.meta.url));

/** What differs between the two. */
interface Flavor {
  /** Of the step. */
  readonly name: string;
  readonly output: string;
  /** Folders of `config`. */
  readonly fragments: readonly string[];
  /** Words for make that choose the architecture. */
  readonly architecture: readonly string[];
  readonly goal: string;
  /** What becomes the output, in the build's folder. */
  readonly made: string;
}

/** @param target must be x86_64: Linux 6.12 runs as a program on x86 alone */
export const linuxfsKernel = (target: Target, compiler: Compiler): Artifact<'program'> =>
  artifact(
    kernelStep(target, compiler, {
      name: 'linuxfs-kernel',
      output: 'linux',
      fragments: ['common', 'um'],
      architecture: ['ARCH=um', 'SUBARCH=x86_64'],
      goal: 'vmlinux',
      made: 'vmlinux',
    }),
    'program',
    'linux',
  );

/** What QEMU starts without a firmware, by target: an ELF file that is stripped, or arm64's image. */
const MADE: Readonly<Record<string, { readonly goal: string; readonly made: string }>> = {
  x86_64: { goal: 'vmlinux', made: 'vmlinux' },
  aarch64: { goal: 'Image', made: 'arch/arm64/boot/Image' },
};

/** For a virtual machine. @returns undefined if there is none for that target */
export function linuxfsVirtKernel(target: Target, compiler: Compiler): Artifact<'kernel'> | undefined {
  const made = MADE[target.name];
  if (!made) return undefined;
  const step = kernelStep(target, compiler, {
    name: 'linuxfs-kernel-virt',
    output: 'kernel',
    fragments: ['common', 'virt', target.arch],
    architecture: [`ARCH=${target.arch}`],
    ...made,
  });
  return artifact(step, 'kernel', 'kernel');
}

function kernelStep(target: Target, compiler: Compiler, flavor: Flavor): Step {
  const { name, output, fragments, architecture, goal, made } = flavor;
  return {
    name,
    target,
    recipe: import.meta.url,
    parameters: { fragments, architecture, goal, made },
    sources: { linux: LINUX },
    files: {
      ...Object.fromEntries(fragments.map((folder) => [folder, join(HERE, 'config', folder)])),
      patches: join(HERE, 'patches'),
      nodefs: join(HERE, 'nodefs'),
    },
    inputs: compiler.inputs,
    tools: [...compiler.tools, 'make'],
    async build(context) {
      const { source } = await unpack(context, 'linux', { exclude: UNNEEDED_PATHS });
      await patchAll(context, source, context.file('patches'));
      await cp(context.file('nodefs'), join(source, 'fs/nodefs'), { recursive: true });
      await mkdir(join(context.work, 'build'));
      await configure(context, compiler, flavor);
      await make(context, compiler, architecture, goal);
      const [from, to] = [join('build', made), join(context.dir, output)];
      if (goal === 'vmlinux')
        await context.run(`${compiler.prefix}strip`, ['-s', '-o', to, from], compiler.options(context));
      else await copyFile(join(context.work, from), to);
    },
  };
}

async function configure(
  context: StepContext,
  compiler: Compiler,
  { fragments: folders, architecture }: Flavor,
): Promise<void> {
  const paths = await Promise.all(folders.map((folder) => fragmentPaths(context.file(folder))));
  const fragments = await readFragments(paths.flat());
  const combined = join(context.work, 'all.config');
  await writeFile(combined, fragments.map(({ text }) => text).join('\n'));
  await make(context, compiler, architecture, 'allnoconfig', { KCONFIG_ALLCONFIG: combined });
  const lost = lostOptions(fragments, await readFile(join(context.work, 'build/.config'), 'utf8'));
  if (lost.length > 0) throw new NodeosError(`${lost.length} kernel options got lost`, { lines: lost });
}

async function make(
  context: StepContext,
  compiler: Compiler,
  architecture: readonly string[],
  goal: string,
  env: Record<string, string> = {},
): Promise<void> {
  const { path } = compiler.options(context);
  const variables = [`O=${join(context.work, 'build')}`, ...architecture, `CROSS_COMPILE=${compiler.prefix}`];
  await context.run('make', ['-C', 'linux', ...variables, `-j${context.jobs}`, goal], {
    ...(path === undefined ? {} : { path }),
    env: { ...REPRODUCIBLE, ...env },
  });
}
