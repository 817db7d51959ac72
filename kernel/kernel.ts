/**
 * The kernel layer: Linux, configured from `tinyconfig` plus the fragments in config/, linked into one image.
 *
 * Output: `kernel` (the image that firmware boots), `vmlinux` (a stripped ELF file, which QEMU starts directly at its
 * PVH entry point, without decompressing anything), `config`, `System.map`.
 */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NodeosError } from '@nodeos/base';
import type { Board, Target } from '@nodeos/targets';
import { artifact, patchAll, unpack, type Artifact, type Step, type StepContext } from '@nodeos/engine';
import type { Compiler } from '@nodeos/toolchain';
import { fragmentPaths, lostOptions, readFragments } from './config.js';
import { LINUX, UNNEEDED_PATHS } from './sources.js';

const HERE = fileURLToPath(new URL('..', import.meta.url));

/** Values that the kernel would otherwise take from the build machine. The date is FAT's epoch, as in the engine. */
const REPRODUCIBLE = {
  KBUILD_BUILD_TIMESTAMP: 'Tue Jan  1 00:00:00 UTC 1980',
  KBUILD_BUILD_USER: 'nodeos',
  KBUILD_BUILD_HOST: 'nodeos',
  KBUILD_BUILD_VERSION: '1',
};

export interface KernelOptions {
  /** Folders with more fragments, which override those of the project. */
  readonly fragments?: readonly string[];
}

/** The output files of the kernel's step. */
export interface Kernel {
  /** The image that firmware boots. */
  readonly image: Artifact<'kernel'>;
  /** The image that QEMU boots. */
  readonly vmlinux: Artifact<'kernel'>;
  readonly config: Artifact<'file'>;
  readonly symbols: Artifact<'file'>;
}

export function kernel(target: Target, board: Board, compiler: Compiler, options: KernelOptions = {}): Kernel {
  const step = kernelStep(target, board, compiler, options);
  return {
    image: artifact(step, 'kernel', 'kernel'),
    vmlinux: artifact(step, 'kernel', 'vmlinux'),
    config: artifact(step, 'file', 'config'),
    symbols: artifact(step, 'file', 'System.map'),
  };
}

function kernelStep(target: Target, board: Board, compiler: Compiler, options: KernelOptions): Step {
  const { kernelImage } = board;
  const extra = Object.fromEntries((options.fragments ?? []).map((path, index) => [`fragments ${index}`, path]));
  return {
    name: 'kernel',
    target,
    recipe: import.meta.url,
    parameters: { kernelImage },
    sources: { linux: LINUX },
    files: { config: join(HERE, 'config'), patches: join(HERE, 'patches'), ...extra },
    inputs: compiler.inputs,
    tools: [...compiler.tools, 'make'],
    async build(context) {
      const { source } = await unpack(context, 'linux', { exclude: UNNEEDED_PATHS });
      await patchAll(context, source, context.file('patches'));
      await mkdir(join(context.work, 'build'));
      await configure(context, compiler, Object.keys(extra));
      await make(context, compiler, ['vmlinux', basename(kernelImage)]);
      await copyFile(join(context.work, 'build', kernelImage), join(context.dir, 'kernel'));
      await context.run(
        `${compiler.prefix}strip`,
        ['-o', join(context.dir, 'vmlinux'), 'build/vmlinux'],
        compiler.options(context),
      );
      await copyFile(join(context.work, 'build/.config'), join(context.dir, 'config'));
      await copyFile(join(context.work, 'build/System.map'), join(context.dir, 'System.map'));
    },
  };
}

async function configure(context: StepContext, compiler: Compiler, extra: readonly string[]): Promise<void> {
  const source = join(context.work, 'linux');
  const folders = [context.file('config'), ...extra.map((name) => context.file(name))];
  const paths = (await Promise.all(folders.map(fragmentPaths))).flat();
  const fragments = await readFragments(paths);
  // tinyconfig is allnoconfig with these three files. The fragments go into the same file, so all else stays off.
  const tiny = [
    'kernel/configs/tiny-base.config',
    'kernel/configs/tiny.config',
    `arch/${context.target.arch}/configs/tiny.config`,
  ];
  const base = await Promise.all(tiny.map((name) => readFile(join(source, name), 'utf8')));
  const combined = join(context.work, 'all.config');
  await writeFile(combined, [...base, ...fragments.map(({ text }) => text)].join('\n'));
  await make(context, compiler, ['allnoconfig'], { KCONFIG_ALLCONFIG: combined });
  await make(context, compiler, ['olddefconfig']);
  const lost = lostOptions(fragments, await readFile(join(context.work, 'build/.config'), 'utf8'));
  if (lost.length === 0) return;
  throw new NodeosError(`${lost.length} kernel options got lost`, {
    lines: lost,
    hint: 'Kconfig drops an option if one that it depends on is off: add that one to the fragment',
  });
}

async function make(
  context: StepContext,
  compiler: Compiler,
  goals: readonly string[],
  env: Record<string, string> = {},
): Promise<void> {
  const { path } = compiler.options(context);
  const variables = [
    `O=${join(context.work, 'build')}`,
    `ARCH=${context.target.arch}`,
    `CROSS_COMPILE=${compiler.prefix}`,
  ];
  await context.run('make', ['-C', 'linux', ...variables, `-j${context.jobs}`, ...goals], {
    ...(path === undefined ? {} : { path }),
    env: { ...REPRODUCIBLE, ...env },
  });
}
