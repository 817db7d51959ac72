/** The contents of folders in EROFS images: blocks of entries, each block followed by the names of its entries. */
import type { Entry } from '@nodeos/tree';
import { BLOCK, DIRENT, NID_UNIT } from './erofs-format.js';
import type { Child, Inode } from './erofs-inodes.js';

/** The type of an entry in its folder. */
const TYPES: Readonly<Record<Entry['type'], number>> = {
  file: 1,
  directory: 2,
  'character-device': 3,
  'block-device': 4,
  fifo: 5,
  symlink: 7,
};

/** The entries of each block, with `.` and `..`, in the byte order of the names. */
function* blocksOf(folder: Inode): Generator<readonly Child[]> {
  let block: Child[] = [];
  let used = 0;
  for (const child of withDots(folder)) {
    used += DIRENT + child.name.length;
    if (used > BLOCK) {
      yield block;
      block = [];
      used = DIRENT + child.name.length;
    }
    block.push(child);
  }
  yield block;
}

function* withDots(folder: Inode): Generator<Child> {
  const dots: Child[] = [
    { name: Buffer.from('.'), inode: folder },
    { name: Buffer.from('..'), inode: folder.parent },
  ];
  for (const child of folder.children) {
    while (dots[0] && Buffer.compare(dots[0].name, child.name) < 0) yield dots.shift() as Child;
    yield child;
  }
  yield* dots;
}

/** Bytes of the content of a folder. */
export function folderSize(folder: Inode): number {
  let [blocks, last] = [0, 0];
  for (const block of blocksOf(folder)) {
    blocks++;
    last = block.reduce((sum, { name }) => sum + DIRENT + name.length, 0);
  }
  return (blocks - 1) * BLOCK + last;
}

/** The content of a folder, when all inodes have their places. */
export function encodeFolder(folder: Inode): Buffer {
  const bytes = Buffer.alloc(folderSize(folder)); // all blocks but the last are padded: zeros end the last name
  let at = 0;
  for (const block of blocksOf(folder)) {
    let nameAt = block.length * DIRENT;
    for (const [index, { name, inode }] of block.entries()) {
      const entryAt = at + index * DIRENT;
      bytes.writeBigUInt64LE(BigInt(inode.at / NID_UNIT), entryAt);
      bytes.writeUInt16LE(nameAt, entryAt + 8);
      bytes.writeUInt8(TYPES[inode.entry.type], entryAt + 10);
      name.copy(bytes, at + nameAt);
      nameAt += name.length;
    }
    at += BLOCK;
  }
  return bytes;
}
