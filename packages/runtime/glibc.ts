/** Node.js on glibc: the official build, with Debian's C and C++ libraries. */
import { chmod, copyFile, mkdir, readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { NodeosError } from '@nodeos/base';
import { type Target } from '@nodeos/targets';
import { unpackDebian, type Step, type StepContext } from '@nodeos/engine';
import { readElf, type Elf } from './elf.js';
import { unpackNode } from './node.js';
import { writeInfo } from './runtime.js';
import { libraries, type NodeRelease } from './sources.js';

/** The host's own `strip` reads programs for the host's machine only. */
const stripFor = ({ nodeArch, triplet }: Target): string => (nodeArch === process.arch ? 'strip' : `${triplet}-strip`);

export function glibcRuntime(target: Target, { version, source }: NodeRelease): Step {
  const packages = libraries(target);
  const strip = stripFor(target);
  return {
    name: 'runtime',
    target,
    recipe: import.meta.url,
    sources: { node: source, ...packages },
    tools: [strip],
    async build(context) {
      const unpacked = await unpackLibraries(context, Object.keys(packages));
      const node = await unpackNode(context, { program: strip });
      await copyLibraries(context, node, unpacked, Object.keys(packages));
      await writeInfo(context, 'glibc', version);
    },
  };
}

/** @returns the paths of all shared libraries in the packages, by file name */
async function unpackLibraries(context: StepContext, packages: readonly string[]): Promise<Map<string, string>> {
  const available = new Map<string, string>();
  for (const name of packages) {
    const dir = join(context.work, name);
    await unpackDebian(context, await context.fetch(name), dir);
    for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
      if (!entry.isDirectory() && /\.so(\.|$)/.test(entry.name))
        available.set(entry.name, join(entry.parentPath, entry.name));
    }
  }
  return available;
}

/**
 * Copies the loader and all libraries that the binary needs, directly or through other libraries, to where glibc's
 * loader looks for them.
 */
async function copyLibraries(
  context: StepContext,
  node: Elf,
  available: ReadonlyMap<string, string>,
  packages: readonly string[],
): Promise<void> {
  if (node.interpreter === undefined) return;
  const root = join(context.dir, 'root');
  const interpreter = node.interpreter.replace(/^\//, '');
  const copy = async (name: string, path: string): Promise<Elf> => {
    await copyLibrary(name, join(root, path), available, packages);
    return readElf(join(root, path));
  };
  const copied = new Set([basename(interpreter)]);
  const pending = [...node.needed, ...(await copy(basename(interpreter), interpreter)).needed];
  for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
    if (copied.has(name)) continue;
    copied.add(name);
    pending.push(...(await copy(name, `lib/${context.target.triplet}/${name}`)).needed);
  }
}

async function copyLibrary(
  name: string,
  to: string,
  available: ReadonlyMap<string, string>,
  packages: readonly string[],
): Promise<void> {
  const from = available.get(name);
  if (from === undefined) {
    throw new NodeosError(`the runtime needs ${name}, which is in none of ${packages.join(', ')}`, {
      hint: 'add the package that has it to packages/runtime/sources.ts',
    });
  }
  await mkdir(dirname(to), { recursive: true });
  await copyFile(await realpath(from), to);
  await chmod(to, 0o755);
}
