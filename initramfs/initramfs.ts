/**
 * The initramfs layer makes one cpio archive for each part of the system and concatenates them. Linux unpacks them one
 * after the other. A part that has not changed is not packed again.
 *
 *     archive-init      /init, /sbin/init, the skeleton of folders and /etc; about 60 KiB
 *     archive-app       /app without its dependencies, /etc/nodeos.json
 *     archive-app-…     dependencies and native code
 *     archive-runtime   /usr: Node.js and its libraries, compressed with LZ4
 *
 * LZ4 unpacks as fast as an uncompressed archive, because QEMU copies half the bytes, and the machine need not hold 110
 * MB twice. zstd costs 1.5 to 2 s under software emulation (docs/initramfs.md). Compressed archives come last, because
 * the kernel's LZ4 format has no end mark.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { artifact, inputPath, type Artifact, type Step } from '@nodeos/engine';
import { CONSOLE, type Part } from '@nodeos/rootfs';
import type { Target } from '@nodeos/targets';
import { concat, directory, file, writeCpio } from '@nodeos/tree';

const ARCHIVE = 'archive.cpio';

/** @param name the name of the step and of its file */
export function initramfs(target: Target, name: string, parts: readonly Part[]): Artifact<'initramfs'> {
  const ordered = [...parts.filter(({ large }) => !large), ...parts.filter(({ large }) => large)];
  const archives = Object.fromEntries(
    ordered.map((part) => [part.name, part.large ? compressed(archive(target, part)) : archive(target, part)]),
  );
  const step: Step = {
    name,
    target,
    recipe: import.meta.url,
    inputs: archives,
    isLocal: true,
    async build(context) {
      const all = concatFiles(Object.keys(archives).map((part) => join(context.input(part), ARCHIVE)));
      await pipeline(Readable.from(all), createWriteStream(join(context.dir, name)));
    },
  };
  return artifact(step, 'initramfs', name);
}

/**
 * The initramfs for a root on the network. It contains only PID 1, which mounts that root and switches to it
 * (docs/stream.md).
 * @param init a step with the output that `@nodeos/init` describes
 */
export function streamInitramfs(target: Target, init: Step): Artifact<'initramfs'> {
  const name = 'initramfs-stream';
  const step: Step = {
    name,
    target,
    recipe: import.meta.url,
    inputs: { init },
    isLocal: true,
    async build(context) {
      const pid1 = file('init', await readFile(join(context.input('init'), 'init')), 0o755);
      const folders = ['dev', 'proc', 'sys', 'usr'].map((path) => directory(path));
      await writeCpio(concat(folders, [CONSOLE, pid1]), join(context.dir, name));
    },
  };
  return artifact(step, 'initramfs', name);
}

async function* concatFiles(paths: readonly string[]): AsyncIterable<Uint8Array> {
  for (const path of paths) yield* createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Uint8Array>;
}

/** Makes the archive of one part. */
function archive(target: Target, part: Part): Step {
  return {
    name: `archive-${part.name}`,
    target,
    recipe: [import.meta.url, part.recipe],
    inputs: { input: part.artifact.step },
    isLocal: true,
    async build(context) {
      await writeCpio(await part.tree(inputPath(context, 'input', part.artifact)), join(context.dir, ARCHIVE));
    },
  };
}

/** Makes the same archive, compressed. */
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
