/** The inodes of an EROFS image: one for each file, which may have several names. */
import { directory, compareNames, pathBytes, type Entry, type Tree } from '@nodeos/tree';
import { heldContent } from './entry-content.js';
import { encodeXattrs } from './erofs-xattrs.js';
import { growTree, type TreeFormat } from './nodes.js';

const MAX_NAME = 255;

/** A name in a folder. */
interface Node {
  entry: Entry;
  readonly children: Map<string, Node>;
}

export class Inode {
  /** Of a folder, in the byte order of the names. */
  readonly children: Child[] = [];
  /** The folder above; of the root, the root. */
  readonly parent: Inode;
  /** What stands between the inode and its tail. */
  readonly xattrs: Buffer;
  /** Names of a file. */
  links = 1;
  /** The content of a link, and of a file that is not on this machine. */
  content?: Buffer;
  /** Bytes at the end of the content that are stored behind the inode. */
  tail = 0;
  /** Offset of the inode in bytes. */
  at = 0;
  /** Number of the first block. */
  block = 0;

  /** @param number the position in the inode table: the order of the paths */
  constructor(
    readonly entry: Entry,
    readonly number: number,
    above?: Inode,
  ) {
    this.parent = above ?? this;
    this.xattrs = encodeXattrs(entry.xattrs, entry.path);
  }
}

export interface Child {
  readonly name: Buffer;
  readonly inode: Inode;
}

/**
 * All inodes, each folder before its contents, in the order of the paths.
 * @throws RangeError for a name or an attribute that the format cannot hold, for a file whose content does not have its
 * stated size, and for an entry below something that is not a folder
 */
export async function inodesOf(tree: Tree | Iterable<Entry>): Promise<readonly Inode[]> {
  const files = new Files();
  const root = await growTree(nodeOf(directory('')), files.follow(tree), FORMAT);
  const inodes = numbered(root, files);
  for (const inode of inodes) {
    const { type, link, host, size } = inode.entry;
    if (type === 'symlink') inode.content = pathBytes(link ?? '');
    if (type !== 'file' || host || size === 0) continue;
    const content = await heldContent(inode.entry);
    if (content) inode.content = content;
  }
  return inodes;
}

/** Which entries are the same file. */
class Files {
  readonly #byPath = new Map<string, Entry>();
  /** The first entry of a file that has several. */
  readonly #first = new Map<Entry, Entry>();

  async *follow(tree: Tree | Iterable<Entry>): Tree {
    for await (const entry of tree) {
      // A link to what is not here is a file of its own.
      const target = entry.hardLink === undefined ? undefined : this.#byPath.get(entry.hardLink);
      if (target) this.#first.set(entry, this.firstOf(target));
      if (entry.type !== 'directory') this.#byPath.set(entry.path, entry);
      yield entry;
    }
  }

  firstOf(entry: Entry): Entry {
    return this.#first.get(entry) ?? entry;
  }
}

const FORMAT: TreeFormat<Node> = {
  childOf(folder, name, path, entry) {
    const child = folder.children.get(name) ?? named(name, path(), entry);
    folder.children.set(name, child);
    return child;
  },
  refusal: (path, reason) => new RangeError(`${path}: ${reason}`),
};

function named(name: string, path: string, entry: Entry): Node {
  const { length } = pathBytes(name);
  if (length === 0 || length > MAX_NAME || name === '.' || name === '..' || name.includes('\0'))
    throw new RangeError(`${JSON.stringify(entry.path)}: EROFS has no room for the name ${JSON.stringify(name)}`);
  return nodeOf(directory(path));
}

const nodeOf = (entry: Entry): Node => ({ entry, children: new Map() });

/** A place in the tree whose contents are next. Folders can be deeper than calls can be. */
interface Place {
  readonly name: string;
  readonly node: Node;
  readonly above?: Inode;
}

function numbered(root: Node, files: Files): Inode[] {
  const all: Inode[] = [];
  const byEntry = new Map<Entry, Inode>();
  const pending: Place[] = [{ name: '', node: root }];
  for (let place = pending.pop(); place; place = pending.pop()) {
    const { name, node, above } = place;
    const first = files.firstOf(node.entry);
    let inode = byEntry.get(first);
    if (inode) inode.links++;
    else {
      inode = new Inode(first, all.length, above);
      all.push(inode);
      byEntry.set(first, inode);
    }
    above?.children.push({ name: pathBytes(name), inode });
    const names = [...node.children.keys()].sort((a, b) => compareNames(b, a));
    for (const child of names) pending.push({ name: child, node: node.children.get(child) as Node, above: inode });
  }
  return all;
}
