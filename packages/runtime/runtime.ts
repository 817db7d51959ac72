/**
 * The runtime: a Node.js binary, and exactly the shared libraries that the binary and those libraries need.
 *
 * Every provider of a runtime is a step with the same output, so that another provider (upstream's own build for musl,
 * a Node.js compiled from source) can replace it:
 *
 *     root/bin/node        the stripped binary
 *     root/lib…            its interpreter and libraries, where the interpreter looks for them
 *     include/node/        the headers that native addons are compiled against
 *     runtime.json         { libc, node, files: the files below root/ }
 */
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StepContext } from '@nodeos/engine';

export interface RuntimeInfo {
  readonly libc: 'glibc' | 'musl';
  /** The version of Node.js, without the `v`. */
  readonly node: string;
  /** Files, relative to `root/`, sorted. */
  readonly files: readonly string[];
}

/** Writes `runtime.json`, which other layers read. A provider must do this last, because it lists all files. */
export async function writeInfo(context: StepContext, libc: RuntimeInfo['libc'], node: string): Promise<void> {
  const root = join(context.dir, 'root');
  const files = (await readdir(root, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
  const info: RuntimeInfo = { libc, node, files };
  await writeFile(join(context.dir, 'runtime.json'), JSON.stringify(info, null, 2) + '\n');
}
