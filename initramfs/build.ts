/**
 * The initramfs layer: one cpio archive for each part of the system, and their concatenation, which Linux unpacks one
 * after the other. A part that has not changed is not packed again.
 *
 *     archive-init      /init, /sbin/init, the skeleton of folders and /etc      some 60 KiB
 *     archive-app       /app without its dependencies, /etc/nodeos.json
 *     archive-modules   /app/node_modules
 *     archive-runtime   /bin/node and its libraries, compressed with LZ4: it unpacks as fast as no compression at all
 *                       (QEMU copies half the bytes), and the machine need not hold 110 MB twice; zstd costs 1.5 to
 *                       2 s under software emulation (docs/initramfs.md). It comes last, because the kernel's LZ4
 *                       format has no end mark.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Step, Target } from '@nodeos/build';
import { concat, characterDevice, directory, file, fromDirectory, symlink, writeCpio, type Entry } from '@nodeos/tree';

/** The file's name in a step's output. */
export const INITRAMFS = 'initramfs';
const ARCHIVE = 'archive.cpio';

export interface InitramfsParts {
  readonly runtime: Step;
  readonly init: Step;
  readonly app?: Step;
  readonly modules?: Step | undefined;
}

export function initramfs(target: Target, parts: InitramfsParts): Step {
  const { runtime, init, app, modules } = parts;
  const archives: Record<string, Step> = { init: initArchive(target, init) };
  if (app) archives['app'] = appArchive(target, app);
  if (modules) archives['modules'] = modulesArchive(target, modules);
  archives['runtime'] = runtimeArchive(target, runtime);
  return {
    name: INITRAMFS,
    target,
    recipe: import.meta.url,
    inputs: archives,
    async build(context) {
      const all = concatFiles(Object.keys(archives).map((name) => join(context.input(name), ARCHIVE)));
      await pipeline(Readable.from(all), createWriteStream(join(context.dir, INITRAMFS)));
    },
  };
}

async function* concatFiles(paths: readonly string[]): AsyncIterable<Uint8Array> {
  for (const path of paths) yield* createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Uint8Array>;
}

function runtimeArchive(target: Target, runtime: Step): Step {
  return {
    name: 'archive-runtime',
    target,
    recipe: import.meta.url,
    inputs: { runtime },
    tools: ['lz4'],
    async build(context) {
      const plain = join(context.work, ARCHIVE);
      await writeCpio(fromDirectory(join(context.input('runtime'), 'root')), plain);
      context.progress('compressing the runtime');
      await context.run('lz4', ['-l', '-9', '-f', '-q', plain, join(context.dir, ARCHIVE)]);
    },
  };
}

const APP_OWNER = { uid: 1000, gid: 1000 };

/** Folders, files and the one device that must be there before anything runs. */
const SKELETON: readonly Entry[] = [
  ...['dev', 'proc', 'sys', 'etc', 'run', 'home', 'sbin', 'var', 'var/log'].map((path) => directory(path)),
  directory('root', 0o700),
  directory('tmp', 0o1777),
  directory('home/app', 0o755, APP_OWNER),
  directory('lib'),
  directory('lib/nodeos'),
  // The kernel opens it for PID 1 before devtmpfs is there.
  characterDevice('dev/console', 0o600, [5, 1]),
  file('etc/passwd', 'root:x:0:0:root:/root:/bin/node\napp:x:1000:1000:application:/home/app:/bin/node\n'),
  file('etc/group', 'root:x:0:\ntty:x:5:\napp:x:1000:\n'),
  file('etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'),
  file('etc/os-release', 'ID=nodeos\nNAME=NodeOS\nPRETTY_NAME=NodeOS\n'),
  symlink('etc/mtab', '../proc/self/mounts'),
];

function initArchive(target: Target, init: Step): Step {
  return {
    name: 'archive-init',
    target,
    recipe: import.meta.url,
    inputs: { init },
    async build(context) {
      const from = (name: string): Promise<Buffer> => readFile(join(context.input('init'), name));
      const programs = [
        file('init', await from('init'), 0o755),
        file('sbin/init', await from('init.js'), 0o755),
        file('lib/nodeos/syscalls.node', await from('syscalls.node'), 0o755),
      ];
      await writeCpio(concat(SKELETON, programs), join(context.dir, ARCHIVE));
    },
  };
}

function appArchive(target: Target, app: Step): Step {
  return {
    name: 'archive-app',
    target,
    recipe: import.meta.url,
    inputs: { app },
    async build(context) {
      const settings = file('etc/nodeos.json', await readFile(join(context.input('app'), 'nodeos.json')));
      const files = fromDirectory(join(context.input('app'), 'files'), { prefix: 'app' });
      await writeCpio(concat([directory('etc')], [settings], files), join(context.dir, ARCHIVE));
    },
  };
}

function modulesArchive(target: Target, modules: Step): Step {
  return {
    name: 'archive-modules',
    target,
    recipe: import.meta.url,
    inputs: { modules },
    async build(context) {
      const tree = fromDirectory(join(context.input('modules'), 'node_modules'), { prefix: 'app/node_modules' });
      await writeCpio(concat([directory('app')], tree), join(context.dir, ARCHIVE));
    },
  };
}
