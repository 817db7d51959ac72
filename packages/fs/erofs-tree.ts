/** The tree of an EROFS image: names in folders, and the files that they are names of. */
import { compareNames, directory, pathLength, type Entry, type Tree } from '@nodeos/tree';
import { growTree, type TreeFormat } from './nodes.js';

const MAX_NAME = 255;

/** A file of any kind, which may have several names. */
export interface Inode {
  readonly entry: Entry;
  /** Bytes of the content. */
  size: number;
  /** The position in the inode table. */
  number: number;
  /** Names that it has; of a folder, itself and the folders in it. */
  links: number;
  /** Of a folder: its entries with `.` and `..`, sorted. */
  names: readonly NamedInode[];
  /** Undefined for a file whose content is not held in memory. */
  content: Buffer | undefined;
  /** Extended attributes, as they are behind the inode. */
  xattrs: Buffer;
  /** Bytes at the end of the content that are stored behind the inode. */
  tail: number;
  /** Offset of the inode in bytes. */
  at: number;
  /** Number of the first block. */
  block: number;
}

export interface NamedInode {
  readonly name: string;
  readonly inode: Inode;
}

/** A name in the tree. Most have no children, and share the map of none. */
interface Name {
  entry: Entry;
  inode: Inode | undefined;
  children: ReadonlyMap<string, Name>;
}

const NO_CHILDREN: ReadonlyMap<string, Name> = new Map();
const NO_XATTRS = Buffer.alloc(0);

/** All inodes, each folder before its contents, in the order of their first names. @throws RangeError, see `erofs` */
export async function inodesOf(tree: Tree | Iterable<Entry>): Promise<Inode[]> {
  const root = nameOf(directory(''));
  await growTree(root, tree, formatOf(root));
  const inodes: Inode[] = [];
  const pending: [name: Name, parent: Name][] = [[root, root]];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const [name, parent] = next;
    const inode = inodeOf(name);
    if (inode.number >= 0) {
      inode.links++;
      continue;
    }
    inode.number = inodes.length;
    inodes.push(inode);
    inode.links = 1;
    if (inode.entry.type !== 'directory') continue;
    const children = [...name.children].sort(([a], [b]) => compareNames(a, b));
    inode.names = namesOf(children, inode, inodeOf(parent));
    inode.links = 2 + children.filter(([, child]) => child.entry.type === 'directory').length;
    for (const [, child] of children.reverse()) pending.push([child, name]);
  }
  return inodes;
}

function namesOf(children: readonly [string, Name][], self: Inode, parent: Inode): NamedInode[] {
  const all = children.map(([name, child]): NamedInode => ({ name, inode: inodeOf(child) }));
  all.push({ name: '.', inode: self }, { name: '..', inode: parent });
  return all.sort((a, b) => compareNames(a.name, b.name));
}

const newInode = (entry: Entry): Inode => ({
  entry,
  size: entry.type === 'file' ? entry.size : 0,
  number: -1,
  links: 0,
  names: [],
  content: undefined,
  xattrs: NO_XATTRS,
  tail: 0,
  at: 0,
  block: 0,
});

const inodeOf = (name: Name): Inode => (name.inode ??= newInode(name.entry));

const nameOf = (entry: Entry): Name => ({ entry, inode: undefined, children: NO_CHILDREN });

const refusal = (path: string, reason: string): RangeError => new RangeError(`${path}: ${reason}`);

const formatOf = (root: Name): TreeFormat<Name> => ({
  childOf(folder, name, initial, entry) {
    const known = folder.children.get(name);
    if (known) return known;
    checkName(name, entry);
    const child = nameOf(initial());
    if (folder.children === NO_CHILDREN) folder.children = new Map();
    (folder.children as Map<string, Name>).set(name, child);
    return child;
  },
  refusal,
  settle(name, entry) {
    name.entry = entry;
    name.inode = entry.hardLink === undefined ? newInode(entry) : linked(root, entry, entry.hardLink);
  },
});

/** The file that has an earlier name. */
function linked(root: Name, { path, type }: Entry, target: string): Inode {
  let name: Name | undefined = root;
  for (const part of target.split('/')) name = name?.children.get(part);
  const inode = name?.inode;
  if (inode?.entry.type !== type || type === 'directory')
    throw refusal(path, `a hard link to ${JSON.stringify(target)}, which is no earlier ${type}`);
  return inode;
}

function checkName(name: string, entry: Entry): void {
  const bytes = pathLength(name);
  if (bytes === 0 || bytes > MAX_NAME || name === '.' || name === '..' || name.includes('\0'))
    throw new RangeError(`${JSON.stringify(entry.path)}: EROFS has no room for the name ${JSON.stringify(name)}`);
}
