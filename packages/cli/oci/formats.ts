/** What a tree is written as. Each format is a row. */
import { writeErofs } from '@nodeos/fs';
import { writeCpio, writeTar, type Entry } from '@nodeos/tree';
import { writeExt4 } from './ext4.js';
import { writeSquashfs } from './squashfs.js';

export interface TreeFormat {
  readonly name: string;
  /** @param tree can be called again */
  write(tree: () => Iterable<Entry>, path: string, signal: AbortSignal): Promise<unknown>;
}

export const FORMATS: readonly TreeFormat[] = [
  { name: 'erofs', write: (tree, path) => writeErofs(tree(), path) },
  { name: 'squashfs', write: writeSquashfs },
  { name: 'ext4', write: writeExt4 },
  { name: 'tar', write: (tree, path) => writeTar(tree(), path) },
  { name: 'cpio', write: (tree, path) => writeCpio(tree(), path) },
];
