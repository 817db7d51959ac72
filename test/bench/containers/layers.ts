/** The layers above Debian: Node.js with npm, and an application with what boots it. Each is a tar archive. */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { artifact, run } from '@nodeos/engine';
import { releaseOf } from '@nodeos/runtime';
import { rootTree } from '@nodeos/rootfs';
import { concat, directory, fromDirectory, file, symlink, writeTar, type Entry, type Tree } from '@nodeos/tree';
import { systemOf } from 'nodeos';
import { built, note, target } from '../machines.js';

const FOLDERS = ['usr', 'usr/bin', 'usr/local', 'usr/local/bin', 'usr/local/lib', 'usr/local/lib/node_modules'];

/** With the npm of that time, as Node.js' own images have it. */
export interface NodeVersion {
  readonly node: string;
  readonly npm: string;
}

export async function nodeLayer({ node, npm }: NodeVersion, path: string, work: string): Promise<void> {
  const system = await systemOf(target, { libc: 'glibc', node: await releaseOf(target, node, note) });
  const program = artifact(system.runtime, 'program', 'root/bin/node');
  const binary = (await built(program)).path(program);
  const folder = join(work, 'npm');
  await mkdir(folder);
  // Its dependencies are in the package. To install it, npm would have to run on that Node.js.
  await run('npm', ['pack', '--pack-destination', folder, `npm@${npm}`], { environment: 'host' });
  await run('tar', ['-xzf', join(folder, `npm-${npm}.tgz`), '-C', folder]);
  await writeTar(
    concat(
      FOLDERS.map((name) => directory(name)),
      [
        file('usr/local/bin/node', await readFile(binary), 0o755),
        symlink('usr/local/bin/npm', '../lib/node_modules/npm/bin/npm-cli.js'),
        symlink('usr/bin/node', '../local/bin/node'), // where PID 1 looks for it
      ],
      fromDirectory(join(folder, 'package'), { prefix: 'usr/local/lib/node_modules/npm' }),
    ),
    path,
  );
  await rm(folder, { recursive: true });
}

/** @param app a folder with a package.json. Its files, its dependencies, and the init that starts it */
export async function appLayer(app: string, path: string): Promise<void> {
  const { parts } = await systemOf(target, { libc: 'glibc', app });
  const made = await built(...parts.map((part) => part.artifact));
  await writeTar(beside(await rootTree(parts, (part) => made.path(part.artifact))), path);
}

/** Debian's own folders, links and settings stay. */
async function* beside(tree: Tree): AsyncGenerator<Entry> {
  for await (const entry of tree) {
    const isOurs = /^(?:app|home|data|etc\/nodeos\.json)(?:\/|$)/.test(entry.path);
    const isDebians = entry.type !== 'file' || entry.path.startsWith('etc/');
    if (isOurs || !isDebians || entry.path === 'etc/passwd' || entry.path === 'etc/group') yield entry;
  }
}
