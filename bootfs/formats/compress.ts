/**
 * Compresses the file of a format, in parts that can be read each on its own. The same tool makes the same bytes from the
 * same file, however many processors there are.
 */
import { appendFile, open, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { file as openFile, pieces } from '@nodeos/block';
import { inputPath, type Artifact, type Step, type StepContext } from '@nodeos/engine';
import { blockMap } from './bmap.js';
import type { Files, Format } from './format.js';
import { seekTable, type Frame } from './zstd-seek-table.js';

interface Compression {
  /** The end of the file's name, and of the format's. */
  readonly ending: string;
  readonly tool: string;
  /** Part of the key. */
  readonly options: readonly string[];
  /** @param to the file to make */
  compress(context: StepContext, from: string, to: string, options: readonly string[]): Promise<void>;
}

/** Bytes of a part before compression: what a reader has to unpack for one byte. */
const FRAME = 4 << 20;
/** Parts in the scratch folder at once. */
const BATCH = 32;

export const COMPRESSIONS: readonly Compression[] = [
  // Level 19 takes 25 times as long for 12 % less.
  { ending: 'zst', tool: 'zstd', options: ['-q', '-9', '--check'], compress: zstdFrames },
  { ending: 'xz', tool: 'xz', options: ['-6', '--check=crc64', '--block-size=16MiB'], compress: xzBlocks },
];

/** zstd has no option for frames of a size, so it gets a part of the file for each. */
async function zstdFrames(context: StepContext, from: string, to: string, options: readonly string[]): Promise<void> {
  const input = await open(from);
  const frames: Frame[] = [];
  try {
    const parts = [...pieces(0, (await input.stat()).size, FRAME)];
    for (let first = 0; first < parts.length; first += BATCH) {
      context.progress(`compressing ${basename(from)}: ${Math.round((100 * first) / parts.length)} %`);
      const batch = parts.slice(first, first + BATCH);
      const names = batch.map((_, index) => `part-${index}`);
      for (const [index, [offset, length]] of batch.entries()) {
        const bytes = Buffer.alloc(length);
        await input.read(bytes, 0, length, offset);
        await writeFile(join(context.work, names[index] ?? ''), bytes);
      }
      await context.run('zstd', [...options, '--rm', '-f', ...names]);
      for (const [index, [, length]] of batch.entries()) {
        const part = join(context.work, `${names[index] ?? ''}.zst`);
        const frame = await readFile(part);
        await appendFile(to, frame);
        await rm(part);
        frames.push({ stored: frame.length, length });
      }
    }
  } finally {
    await input.close();
  }
  await appendFile(to, seekTable(frames));
}

/** With one thread xz writes other bytes than with several: it leaves the lengths out of the headers of blocks. */
async function xzBlocks(context: StepContext, from: string, to: string, options: readonly string[]): Promise<void> {
  context.progress(`compressing ${basename(from)}`);
  // xz writes beside what it reads, and an output of another step is not the place for that.
  const link = join(context.work, basename(to, '.xz'));
  await symlink(from, link);
  await context.run('xz', [...options, '-k', '-f', `-T${Math.max(2, context.jobs)}`, link]);
  await rename(`${link}.xz`, to);
}

/** The files of a compressed format: disks have a map of their blocks beside them. */
export const compressedFiles = ({ files: [file], image }: Format, { ending }: Compression): Files =>
  image === 'raw' ? [`${file}.${ending}`, `${file}.bmap`] : [`${file}.${ending}`];

/** @param plain the file to compress */
export function compressed(format: Format, compression: Compression, plain: Artifact): Step {
  const { ending, tool, options } = compression;
  const [file, map] = compressedFiles(format, compression);
  return {
    name: `${format.name}-${ending}`,
    target: plain.step.target,
    recipe: import.meta.url,
    parameters: { ending, options, frame: FRAME },
    tools: [tool],
    inputs: { plain: plain.step },
    async build(context) {
      const from = inputPath(context, 'plain', plain);
      await compression.compress(context, from, join(context.dir, file), options);
      if (map !== undefined) await writeMap(from, join(context.dir, map), context.signal);
    },
  };
}

/** What bmaptool looks for beside an image. */
async function writeMap(from: string, to: string, signal: AbortSignal): Promise<void> {
  const image = await openFile(from, { readOnly: true });
  try {
    await writeFile(to, await blockMap(image, signal));
  } finally {
    await image.close();
  }
}
