/**
 * The initramfs layer: one cpio archive for each part of the system, and their concatenation, which Linux unpacks one
 * after the other. A part that has not changed is not packed again.
 *
 *     archive-init      /init, /sbin/init, the skeleton of folders and /etc      some 60 KiB
 *     archive-app       /app without its dependencies, /etc/nodeos.json
 *     archive-app-…     dependencies, and native code
 *     archive-runtime   /usr: Node.js and its libraries, compressed with LZ4: it unpacks as fast as no compression at all
 *                       (QEMU copies half the bytes), and the machine need not hold 110 MB twice; zstd costs 1.5 to
 *                       2 s under software emulation (docs/initramfs.md). It comes last, because the kernel's LZ4
 *                       format has no end mark.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { APP_ID, APP_USER, entryPath, PATHS } from '@nodeos/contract';
import type { Target } from '@nodeos/targets';
import type { Step } from '@nodeos/engine';
import {
  concat,
  characterDevice,
  directory,
  file,
  fromDirectory,
  symlink,
  writeCpio,
  type Entry,
  type Tree,
} from '@nodeos/tree';

const ARCHIVE = 'archive.cpio';

export interface InitramfsParts {
  readonly init: Step;
  /** Without one, /usr is mounted from an image (`runtimeImage`). */
  readonly runtime?: Step | undefined;
  readonly app?: Step;
  /** Steps with more of /app in their `files/`: dependencies, native code. */
  readonly additions?: readonly Step[];
}

/** @returns a step with one file in its output, of the step's name. */
export function initramfs(target: Target, parts: InitramfsParts): Step {
  const { runtime, init, app, additions = [] } = parts;
  const archives: Record<string, Step> = { init: archive(target, 'init', init, initTree) };
  if (app) archives['app'] = archive(target, 'app', app, appTree);
  for (const step of additions) archives[step.name] = archive(target, step.name, step, additionTree);
  if (runtime) archives['runtime'] = compressed(archive(target, 'runtime', runtime, runtimeTree));
  const name = runtime ? 'initramfs' : 'initramfs-base';
  return {
    name,
    target,
    recipe: import.meta.url,
    inputs: archives,
    async build(context) {
      const all = concatFiles(Object.keys(archives).map((part) => join(context.input(part), ARCHIVE)));
      await pipeline(Readable.from(all), createWriteStream(join(context.dir, name)));
    },
  };
}

/**
 * What it takes to reach a root on the network, and nothing else: PID 1 mounts that root and moves into it
 * (docs/stream.md).
 * @returns a step with one file in its output, of the step's name
 */
export function streamInitramfs(target: Target, init: Step): Step {
  const name = 'initramfs-stream';
  return {
    name,
    target,
    recipe: import.meta.url,
    inputs: { init },
    async build(context) {
      const pid1 = file('init', await readFile(join(context.input('init'), 'init')), 0o755);
      const folders = ['dev', 'proc', 'sys', 'usr'].map((path) => directory(path));
      await writeCpio(concat(folders, [CONSOLE, pid1]), join(context.dir, name));
    },
  };
}

/** The steps whose outputs a root holds. */
export const stepsOf = ({ init, runtime, app, additions = [] }: InitramfsParts): Step[] =>
  [init, runtime, app, ...additions].filter((step) => step !== undefined);

/**
 * All the files of a system: what the archives of `initramfs` hold together.
 * @param output the folder that one of the `stepsOf` the parts has filled
 */
export async function rootTree(parts: InitramfsParts, output: (step: Step) => string): Promise<Tree> {
  const { init, runtime, app, additions = [] } = parts;
  return concat(
    await initTree(output(init)),
    ...(app ? [await appTree(output(app))] : []),
    ...additions.map((step) => additionTree(output(step))),
    ...(runtime ? [runtimeTree(output(runtime))] : []),
  );
}

async function* concatFiles(paths: readonly string[]): AsyncIterable<Uint8Array> {
  for (const path of paths) yield* createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Uint8Array>;
}

/** An archive of what a step has made. */
function archive(target: Target, part: string, input: Step, entries: (output: string) => Promise<Tree> | Tree): Step {
  return {
    name: `archive-${part}`,
    target,
    recipe: import.meta.url,
    inputs: { input },
    build: async (context) => writeCpio(await entries(context.input('input')), join(context.dir, ARCHIVE)),
  };
}

/** The same, compressed. */
function compressed(step: Step): Step {
  return {
    ...step,
    parameters: { compression: 'lz4' },
    tools: ['lz4'],
    async build(context) {
      await step.build({ ...context, dir: context.work });
      context.progress(`compressing ${step.name}`);
      await context.run('lz4', ['-l', '-9', '-f', '-q', join(context.work, ARCHIVE), join(context.dir, ARCHIVE)]);
    },
  };
}

const runtimeTree = (output: string): Tree => fromDirectory(join(output, 'root'), { prefix: 'usr' });

const APP_OWNER = { uid: APP_ID, gid: APP_ID };

// The kernel opens it for PID 1 before devtmpfs is there.
const CONSOLE = characterDevice('dev/console', 0o600, [5, 1]);

/** Folders, files and the one device that must be there before anything runs. */
const SKELETON: readonly Entry[] = [
  ...['dev', 'proc', 'sys', 'etc', 'run', 'home', 'sbin', 'var', 'var/log'].map((path) => directory(path)),
  directory('root', 0o700),
  directory('tmp', 0o1777),
  directory(entryPath(PATHS.home), 0o755, APP_OWNER),
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

async function initTree(output: string): Promise<Tree> {
  const from = (name: string): Promise<Buffer> => readFile(join(output, name));
  const programs = [
    file('init', await from('init'), 0o755),
    file(entryPath(PATHS.init), await from('init.js'), 0o755),
    file('sbin/syscalls.node', await from('syscalls.node'), 0o755),
  ];
  return concat(SKELETON, programs);
}

async function appTree(output: string): Promise<Tree> {
  const settings = file(entryPath(PATHS.system), await readFile(join(output, 'nodeos.json')));
  return concat([directory('etc')], [settings], fromDirectory(join(output, 'files'), { prefix: 'app' }));
}

const additionTree = (output: string): Tree =>
  concat([directory('app')], fromDirectory(join(output, 'files'), { prefix: 'app' }));
