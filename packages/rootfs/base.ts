/** The part that every system contains: folders, /etc, PID 1 and the init. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { APP_ID, APP_USER, entryPath, PATHS } from '@nodeos/contract';
import { artifact, type Step } from '@nodeos/engine';
import { characterDevice, concat, directory, file, symlink, type Entry, type Tree } from '@nodeos/tree';
import type { Part } from './part.js';

const APP_OWNER = { uid: APP_ID, gid: APP_ID };

// The kernel opens this device for PID 1 before devtmpfs is mounted.
export const CONSOLE = characterDevice('dev/console', 0o600, [5, 1]);

/** Folders, files and the one device that must exist before anything runs. */
const SKELETON: readonly Entry[] = [
  ...['dev', 'proc', 'sys', 'etc', 'run', 'home', 'sbin', 'var', 'var/log'].map((path) => directory(path)),
  directory('root', 0o700),
  directory('tmp', 0o1777),
  directory(entryPath(PATHS.home), 0o755, APP_OWNER),
  directory(entryPath(PATHS.data), 0o755, APP_OWNER),
  directory('usr'),
  ...['bin', 'lib', 'lib64'].map((path) => symlink(path, `usr/${path}`)),
  CONSOLE,
  file(
    'etc/passwd',
    `root:x:0:0:root:/root:${PATHS.node}\n${APP_USER}:x:${APP_ID}:${APP_ID}:application:${PATHS.home}:${PATHS.node}\n`,
  ),
  file('etc/group', `root:x:0:\ntty:x:5:\n${APP_USER}:x:${APP_ID}:\n`),
  file('etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'),
  file('etc/os-release', 'ID=nodeos\nNAME=NodeOS\nPRETTY_NAME=NodeOS\n'),
  symlink('etc/mtab', '../proc/self/mounts'),
];

/** @param init a step with the output that `@nodeos/init` describes */
export const basePart = (init: Step): Part => ({
  name: 'init',
  artifact: artifact(init, 'folder'),
  recipe: import.meta.url,
  tree: baseTree,
});

async function baseTree(output: string): Promise<Tree> {
  const program = async (path: string, name: string): Promise<Entry> =>
    file(path, await readFile(join(output, name)), 0o755);
  return concat(SKELETON, [
    await program('init', 'init'),
    await program(entryPath(PATHS.init), 'init.js'),
    await program(entryPath(PATHS.addon), 'syscalls.node'),
  ]);
}
