/**
 * The kernel layer: Linux, configured from `tinyconfig` plus the fragments in config/common and config/ARCH, linked into
 * one image for all boards of a target.
 *
 * Output: `kernel` (the image that firmware boots), `vmlinux` (a stripped ELF file, which QEMU starts directly at its
 * PVH entry point, without decompressing anything), `config`, `System.map`, and device trees in `dtbs/`.
 */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists, NodeosError } from '@nodeos/base';
import type { Board, Target } from '@nodeos/targets';
import { artifact, patchAll, unpack, type Artifact, type Step, type StepContext } from '@nodeos/engine';
import type { Compiler } from '@nodeos/toolchain';
import { fragmentPaths, lostOptions, readFragments } from './config.js';
import { LINUX, UNNEEDED_PATHS } from './sources.js';

const HERE = fileURLToPath(new URL('..', import.meta.url));

/** Values that the kernel would otherwise take from the build machine. The date is FAT's epoch, as in the engine. */
export const REPRODUCIBLE = {
  KBUILD_BUILD_TIMESTAMP: 'Tue Jan  1 00:00:00 UTC 1980',
  KBUILD_BUILD_USER: 'nodeos',
  KBUILD_BUILD_HOST: 'nodeos',
  KBUILD_BUILD_VERSION: '1',
};

/** The device trees that are built for boards whose firmware has none of its own, by `ARCH`; relative to `dts/`. */
const DEVICE_TREES: Readonly<Record<string, readonly string[]>> = {
  arm64: [
    'broadcom/bcm2837-rpi-3-a-plus.dtb',
    'broadcom/bcm2837-rpi-3-b.dtb',
    'broadcom/bcm2837-rpi-3-b-plus.dtb',
    'broadcom/bcm2837-rpi-cm3-io3.dtb',
    'broadcom/bcm2837-rpi-zero-2-w.dtb',
    'broadcom/bcm2711-rpi-4-b.dtb',
    'broadcom/bcm2711-rpi-400.dtb',
    'broadcom/bcm2711-rpi-cm4-io.dtb',
  ],
};

export interface KernelOptions {
  /** Folders with more fragments, which override those of the project. */
  readonly fragments?: readonly string[];
}

/** The output files of the kernel's step. */
export interface Kernel {
  /** The image that firmware boots. */
  readonly image: Artifact<'kernel'>;
  readonly vmlinux: Artifact<'kernel'>;
  /** One of these two: what QEMU starts without a firmware. */
  readonly direct: Artifact<'kernel'>;
  readonly config: Artifact<'file'>;
  readonly symbols: Artifact<'file'>;
  /** The files of device trees. */
  readonly deviceTrees: readonly Artifact<'file'>[];
}

export function kernel(target: Target, board: Board, compiler: Compiler, options: KernelOptions = {}): Kernel {
  const step = kernelStep(target, board, compiler, options);
  return {
    image: artifact(step, 'kernel', 'kernel'),
    vmlinux: artifact(step, 'kernel', 'vmlinux'),
    direct: artifact(step, 'kernel', board.emulator.kernel),
    config: artifact(step, 'file', 'config'),
    symbols: artifact(step, 'file', 'System.map'),
    deviceTrees: treesOf(target).map((tree) => artifact(step, 'file', join('dtbs', basename(tree)))),
  };
}

const treesOf = (target: Target): readonly string[] => DEVICE_TREES[target.arch] ?? [];

function kernelStep(target: Target, board: Board, compiler: Compiler, options: KernelOptions): Step {
  const { kernelImage } = board;
  const extra = Object.fromEntries((options.fragments ?? []).map((path, index) => [`fragments ${index}`, path]));
  return {
    name: 'kernel',
    target,
    recipe: import.meta.url,
    parameters: { kernelImage },
    sources: { linux: LINUX },
    files: {
      common: join(HERE, 'config/common'),
      arch: join(HERE, 'config', target.arch),
      patches: join(HERE, 'patches'),
      ...extra,
    },
    inputs: compiler.inputs,
    tools: [...compiler.tools, 'make'],
    async build(context) {
      const { source } = await unpack(context, 'linux', { exclude: UNNEEDED_PATHS });
      await patchAll(context, source, context.file('patches'));
      await mkdir(join(context.work, 'build'));
      await configure(context, compiler, Object.keys(extra));
      const trees = treesOf(target);
      await make(context, compiler, ['vmlinux', basename(kernelImage), ...trees]);
      await copyFile(join(context.work, 'build', kernelImage), join(context.dir, 'kernel'));
      await copyTrees(context, trees);
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

async function copyTrees(context: StepContext, trees: readonly string[]): Promise<void> {
  if (trees.length === 0) return;
  const [from, to] = [join(context.work, 'build/arch', context.target.arch, 'boot/dts'), join(context.dir, 'dtbs')];
  await mkdir(to);
  for (const tree of trees) await copyFile(join(from, tree), join(to, basename(tree)));
}

async function configure(context: StepContext, compiler: Compiler, extra: readonly string[]): Promise<void> {
  const source = join(context.work, 'linux');
  const folders = ['common', 'arch', ...extra].map((name) => context.file(name));
  const paths = (await Promise.all(folders.map(fragmentPaths))).flat();
  const fragments = await readFragments(paths);
  // tinyconfig is allnoconfig with these files. The fragments go into the same file, so all else stays off.
  const tiny = [
    'kernel/configs/tiny-base.config',
    'kernel/configs/tiny.config',
    `arch/${context.target.arch}/configs/tiny.config`,
  ];
  const base: string[] = [];
  for (const path of tiny.map((name) => join(source, name)))
    if (await exists(path)) base.push(await readFile(path, 'utf8')); // not every architecture has one
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
