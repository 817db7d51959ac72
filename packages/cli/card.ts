/**
 * Takes from an SD card what the firmware of a Raspberry Pi would start. QEMU has no such firmware, so the kernel, the
 * initramfs, the command line and the device tree come out of the card by its own config.txt.
 */
import { createWriteStream } from 'node:fs';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { messageOf, NodeosError, temporaryFolder } from '@nodeos/base';
import { copyFileWithHoles, file, partition } from '@nodeos/block';
import { readConfig } from '@nodeos/bootfs';
import { readImage } from '@nodeos/fs';
import type { Entry } from '@nodeos/tree';
import type { Board } from '@nodeos/targets';
import { withoutParts, type CardFiles } from '@nodeos/vm';

export interface Card extends CardFiles {
  /** A copy of the card in a size that QEMU takes, for one machine. */
  readonly path: string;
  /** Removes the copy and the files. */
  close(): Promise<void>;
}

/** Config files and command lines are shorter. */
const MAX_TEXT = 64 << 10;
/** Smallest copy in bytes: with room for the data to grow. */
const SMALLEST = 2 ** 30;

/**
 * @param path the image of the card
 * @param board a board that starts from cards
 * @throws NodeosError if it is no card, or lacks a file
 */
export async function openCard(path: string, { deviceTree = '', emulator }: Board): Promise<Card> {
  const dir = await temporaryFolder('card');
  const close = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    const files = await takeFiles(path, deviceTree, dir);
    await writeFile(files.deviceTree, withoutParts(await readFile(files.deviceTree), emulator.lacks ?? []));
    const copied = join(dir, 'card.img');
    await copyCard(path, copied);
    return { ...files, path: copied, close };
  } catch (error) {
    await close();
    throw error instanceof NodeosError ? error : new NodeosError(`${path}: ${messageOf(error)}`, { cause: error });
  }
}

async function takeFiles(path: string, tree: string, dir: string): Promise<CardFiles> {
  const boot = await partition(await file(path, { readOnly: true }), 1);
  try {
    const entries = new Map<string, Entry>();
    for await (const entry of (await readImage(boot)).entries()) entries.set(entry.path, entry);
    const entryOf = (name: string): Entry => {
      const found = entries.get(name);
      if (found?.type === 'file') return found;
      throw new NodeosError(`${path}: the first partition has no file ${name}`);
    };
    const take = async (name: string, as: string): Promise<string> => {
      const to = join(dir, as);
      await pipeline(entryOf(name).open?.() ?? [], createWriteStream(to));
      return to;
    };
    const { kernel, initramfs, trees, commandLine } = readConfig(await textOf(entryOf('config.txt')));
    return {
      kernel: await take(kernel, 'kernel'),
      initramfs: await take(initramfs, 'initramfs'),
      deviceTree: await take(trees + tree, 'tree.dtb'),
      commandLine: (await textOf(entryOf(commandLine))).split('\n')[0] ?? '',
    };
  } finally {
    await boot.close();
  }
}

async function textOf(entry: Entry): Promise<string> {
  if (entry.size > MAX_TEXT) throw new NodeosError(`${entry.path}: ${entry.size} bytes are too many for a text`);
  const parts: Uint8Array[] = [];
  for await (const bytes of entry.open?.() ?? []) parts.push(Buffer.from(bytes));
  return Buffer.concat(parts).toString();
}

/** QEMU takes only cards whose size is a power of two. */
async function copyCard(from: string, to: string): Promise<void> {
  const { size } = await stat(from);
  await copyFileWithHoles(from, to, Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(size))));
}
