/**
 * The kernel layer: Linux, configured from `tinyconfig` plus the fragments in config/, linked into one image.
 *
 * Output: `kernel` (the image that firmware boots), `vmlinux` (stripped ELF, which QEMU starts directly by its PVH
 * entry, without decompressing anything), `config`, `System.map`.
 */
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NodeosError, type Step, type StepContext, type Target } from '@nodeos/build';
import { fragmentPaths, lostOptions, readFragments } from './config.js';
import { LINUX } from './sources.js';

const HERE = fileURLToPath(new URL('..', import.meta.url));

/** Whatever the kernel would take from the machine that builds it. The date is the epoch of FAT, see the engine. */
const REPRODUCIBLE = {
  KBUILD_BUILD_TIMESTAMP: 'Tue Jan  1 00:00:00 UTC 1980',
  KBUILD_BUILD_USER: 'nodeos',
  KBUILD_BUILD_HOST: 'nodeos',
  KBUILD_BUILD_VERSION: '1',
};

export interface KernelOptions {
  /** Folders with more fragments, which win over those of the project. */
  readonly fragments?: readonly string[];
}

export function kernel(target: Target, options: KernelOptions = {}): Step {
  const extra = Object.fromEntries((options.fragments ?? []).map((path, index) => [`fragments ${index}`, path]));
  return {
    name: 'kernel',
    target,
    recipe: import.meta.url,
    sources: { linux: LINUX },
    files: { config: join(HERE, 'config'), patches: join(HERE, 'patches'), ...extra },
    tools: ['gcc', 'ld', 'make'],
    async build(context) {
      await unpack(context);
      await patch(context);
      await configure(context, Object.keys(extra));
      await make(context, ['vmlinux', context.target.kernelImage.replace(/.*\//, '')]);
      await copyFile(join(context.work, 'build', target.kernelImage), join(context.dir, 'kernel'));
      await context.run('strip', ['-o', join(context.dir, 'vmlinux'), 'build/vmlinux']);
      await copyFile(join(context.work, 'build/.config'), join(context.dir, 'config'));
      await copyFile(join(context.work, 'build/System.map'), join(context.dir, 'System.map'));
    },
  };
}

async function unpack(context: StepContext): Promise<void> {
  const archive = await context.fetch('linux');
  context.progress('unpacking the kernel');
  await context.run('mkdir', ['linux', 'build']);
  await context.run('tar', ['-xf', archive, '-C', 'linux', '--strip-components=1', '--no-same-owner']);
}

/** Applies patches/*.patch in the order of their names. */
async function patch(context: StepContext): Promise<void> {
  const names = (await readdir(context.file('patches'))).filter((name) => name.endsWith('.patch')).sort();
  for (const name of names) {
    await context.run('patch', ['-d', 'linux', '-p1', '--fuzz=0', '-i', join(context.file('patches'), name)]);
  }
}

async function configure(context: StepContext, extra: readonly string[]): Promise<void> {
  const source = join(context.work, 'linux');
  const folders = [context.file('config'), ...extra.map((name) => context.file(name))];
  const paths = (await Promise.all(folders.map(fragmentPaths))).flat();
  const fragments = await readFragments(paths);
  // tinyconfig is allnoconfig with these three; taking all as one file leaves off whatever nobody asked for.
  const tiny = [
    'kernel/configs/tiny-base.config',
    'kernel/configs/tiny.config',
    `arch/${context.target.arch}/configs/tiny.config`,
  ];
  const base = await Promise.all(tiny.map((name) => readFile(join(source, name), 'utf8')));
  const all = join(context.work, 'all.config');
  await writeFile(all, [...base, ...fragments.map(({ text }) => text)].join('\n'));
  await make(context, ['allnoconfig'], { KCONFIG_ALLCONFIG: all });
  await make(context, ['olddefconfig']);
  const lost = lostOptions(fragments, await readFile(join(context.work, 'build/.config'), 'utf8'));
  if (lost.length === 0) return;
  throw new NodeosError(`${lost.length} kernel options got lost`, {
    lines: lost,
    hint: 'an option vanishes if one that it depends on is off: add that one to the fragment',
  });
}

async function make(context: StepContext, goals: readonly string[], env: Record<string, string> = {}): Promise<void> {
  const output = join(context.work, 'build');
  await context.run(
    'make',
    ['-C', 'linux', `O=${output}`, `ARCH=${context.target.arch}`, `-j${context.jobs}`, ...goals],
    {
      env: { ...REPRODUCIBLE, ...env },
    },
  );
}
