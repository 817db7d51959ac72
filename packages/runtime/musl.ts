/** Node.js on musl: upstream's build, with the C library and the C++ library of the toolchain. */
import { chmod, cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeosError, type Step, type StepContext, type Target } from '@nodeos/build';
import { PRELOAD } from './allocator.js';
import type { RuntimeInfo } from './build.js';
import { parseElf } from './elf.js';
import { prelink } from './prelink.js';
import { plainNode } from './sea.js';
import { NODE, NODE_MUSL } from './sources.js';
import { setThreadStack } from './stack.js';

/**
 * @param toolchain a step with the toolchain's folder
 * @param allocator a step with `preload.so`; without one it is musl's own
 */
export function muslRuntime(target: Target, toolchain: Step, allocator?: Step): Step {
  return {
    name: 'runtime-musl',
    target,
    recipe: import.meta.url,
    sources: { node: NODE_MUSL, headers: NODE },
    inputs: { toolchain, ...(allocator ? { allocator } : {}) },
    async build(context) {
      const root = join(context.dir, 'root');
      const node = await unpackNode(context);
      await mkdir(join(root, 'bin'), { recursive: true });
      await writeFile(join(root, 'bin/node'), node, { mode: 0o755 });
      await copyLibraries(context, root, parseElf(node).needed);
      if (allocator) await cp(join(context.input('allocator'), 'preload.so'), join(root, PRELOAD));
      await unpackHeaders(context);
      const files = (await readdir(root, { recursive: true, withFileTypes: true }))
        .filter((entry) => !entry.isDirectory())
        .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
        .sort();
      const info: RuntimeInfo = { libc: 'musl', node: NODE_MUSL.version, files };
      await writeFile(join(context.dir, 'runtime.json'), JSON.stringify(info, null, 2) + '\n');
    },
  };
}

async function unpackNode(context: StepContext): Promise<Buffer> {
  const archive = await context.fetch('node');
  await context.run('tar', ['-xf', archive, '--no-same-owner', 'package/pnpm']);
  const path = join(context.work, 'package/pnpm');
  try {
    const node = plainNode(await readFile(path));
    prelink(node);
    setThreadStack(node);
    return node;
  } catch (error) {
    throw new NodeosError(`${NODE_MUSL.name} ${NODE_MUSL.version}: ${(error as Error).message}`, { cause: error });
  }
}

/** musl is its own loader, and is asked for by three names; what else is needed is in the toolchain. */
async function copyLibraries(context: StepContext, root: string, needed: readonly string[]): Promise<void> {
  const { triplet, muslArch } = context.target.cross;
  const compiler = join(context.input('toolchain'), 'bin', `${triplet}-gcc`);
  const find = async (name: string): Promise<string> =>
    (await context.run(compiler, [`-print-file-name=${name}`])).stdout.trim();
  const loader = `ld-musl-${muslArch}.so.1`;
  const lib = join(root, 'lib');
  await mkdir(lib);
  await cp(await find('libc.so'), join(lib, loader));
  await chmod(join(lib, loader), 0o755);
  for (const name of needed) {
    if (name.startsWith('libc.')) await symlink(loader, join(lib, name));
    else await cp(await find(name), join(lib, name), { dereference: true });
  }
}

async function unpackHeaders(context: StepContext): Promise<void> {
  const archive = await context.fetch('headers');
  await context.run('tar', ['-xf', archive, '--no-same-owner', 'package/include'], {});
  await cp(join(context.work, 'package/include'), join(context.dir, 'include'), { recursive: true });
}
