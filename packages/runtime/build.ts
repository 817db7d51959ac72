/**
 * The runtime: a Node.js binary and exactly the shared libraries that it and they need.
 *
 * Every provider of a runtime is a step with the same output, so that another one (a musl build, a Node.js compiled
 * from source) can take this one's place:
 *
 *     root/bin/node        the stripped binary
 *     root/lib…            its interpreter and libraries, where the interpreter looks for them
 *     include/node/        the headers that native addons are compiled against
 *     runtime.json         { libc, node, files: those below root/ }
 */
import { chmod, copyFile, cp, mkdir, readdir, realpath, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { NodeosError, type Step, type StepContext, type Target } from '@nodeos/build';
import { readElf } from './elf.js';
import { LIBRARIES, NODE } from './sources.js';

export interface RuntimeInfo {
  readonly libc: 'glibc' | 'musl';
  /** Node.js's version, without the `v`. */
  readonly node: string;
  /** Files, relative to `root/`, sorted. */
  readonly files: readonly string[];
}

/** The official build of Node.js with Debian's glibc. */
export function glibcRuntime(target: Target): Step {
  return {
    name: 'runtime',
    target,
    recipe: import.meta.url,
    sources: { node: NODE, ...LIBRARIES },
    tools: ['strip'],
    async build(context) {
      const root = join(context.dir, 'root');
      const libraries = await unpackLibraries(context);
      await unpackNode(context, root);
      const files = await collect(context, root, libraries);
      const info: RuntimeInfo = { libc: 'glibc', node: NODE.version, files };
      await writeFile(join(context.dir, 'runtime.json'), JSON.stringify(info, null, 2) + '\n');
    },
  };
}

async function unpackNode(context: StepContext, root: string): Promise<void> {
  const unpacked = join(context.work, 'node');
  await mkdir(unpacked);
  const archive = await context.fetch('node');
  await context.run('tar', ['-xf', archive, '-C', unpacked, '--strip-components=1', '--no-same-owner']);
  await mkdir(join(root, 'bin'), { recursive: true });
  await context.run('strip', ['-o', join(root, 'bin/node'), join(unpacked, 'bin/node')]);
  await chmod(join(root, 'bin/node'), 0o755);
  await cp(join(unpacked, 'include'), join(context.dir, 'include'), { recursive: true });
}

/** @returns every file below the packages' library folders, by its name. */
async function unpackLibraries(context: StepContext): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of Object.keys(LIBRARIES)) {
    const dir = join(context.work, name);
    await mkdir(dir);
    const deb = await context.fetch(name);
    await context.run('ar', ['x', deb, 'data.tar.xz'], { cwd: dir });
    await context.run('tar', ['-xf', 'data.tar.xz', '--no-same-owner'], { cwd: dir });
    for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
      if (!entry.isDirectory() && /\.so(\.|$)/.test(entry.name))
        found.set(entry.name, join(entry.parentPath, entry.name));
    }
  }
  return found;
}

/** Follows the needs from the binary on, and copies each library to where glibc's loader looks for it. */
async function collect(context: StepContext, root: string, libraries: ReadonlyMap<string, string>): Promise<string[]> {
  const { target } = context;
  const main = await readElf(join(root, 'bin/node'));
  if (main.machine !== target.elfMachine)
    throw new NodeosError(`node is for ELF machine ${main.machine}, not ${target.name}`);
  if (main.interpreter === undefined) return ['bin/node'];
  const files = new Set(['bin/node']);
  const wanted = [...main.needed];
  const interpreter = main.interpreter.replace(/^\//, '');
  await copyLibrary(basename(interpreter), join(root, interpreter), libraries);
  files.add(interpreter);
  for (let name = wanted.shift(); name !== undefined; name = wanted.shift()) {
    const path =
      name === basename(interpreter) ? interpreter : `lib/${target.triplet.replace(/-linux.*/, '')}-linux-gnu/${name}`;
    if (files.has(path)) continue;
    files.add(path);
    await copyLibrary(name, join(root, path), libraries);
    wanted.push(...(await readElf(join(root, path))).needed);
  }
  return [...files].sort();
}

async function copyLibrary(name: string, to: string, libraries: ReadonlyMap<string, string>): Promise<void> {
  const from = libraries.get(name);
  if (from === undefined) {
    throw new NodeosError(`the runtime needs ${name}, which is in none of ${Object.keys(LIBRARIES).join(', ')}`, {
      hint: 'add the package that has it to packages/runtime/sources.ts',
    });
  }
  await mkdir(dirname(to), { recursive: true });
  await copyFile(await realpath(from), to);
  await chmod(to, 0o755);
}
