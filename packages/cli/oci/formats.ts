/** What a tree is written as. Each format is a row. */
import { writeErofs } from '@nodeos/fs';
import { writeCpio, writeTar, type Entry } from '@nodeos/tree';
import { writeExt4 } from './ext4.js';
import { writeSquashfs } from './squashfs.js';

export interface TreeFormat {
  readonly name: string;
  /** A program of this machine that it needs. */
  readonly program?: string;
  /** @param tree can be called again */
  write(tree: () => Iterable<Entry>, path: string, signal: AbortSignal): Promise<unknown>;
}

export const FORMATS: readonly TreeFormat[] = [
  { name: 'erofs', write: (tree, path) => writeErofs(tree(), path) },
  { name: 'squashfs', program: 'tar2sqfs', write: writeSquashfs },
  { name: 'ext4', program: 'mke2fs', write: writeExt4 },
  { name: 'tar', write: (tree, path) => writeTar(tree(), path) },
  { name: 'cpio', write: (tree, path) => writeCpio(tree(), path) },
];
