/** A tree as FAT folders: what the format can hold, with the short names that it needs. */
import { roundUp } from '@nodeos/block';
import { directory, type Entry, type Tree } from '@nodeos/tree';
import { MAX_DEPTH, MAX_SLOTS, SLOT } from './fat-layout.js';
import { fold, problemOf, shortNames } from './fat-names.js';
import { partsOf } from './fat-slots.js';
import { growTree } from './nodes.js';

/** Bytes. */
const MAX_FILE = 0xffffffff;

export interface FatNode {
  entry: Entry;
  readonly name: string;
  /** Such as `LONGNA~1.TXT`. */
  short: string;
  /** Entries by folded name; sorted by name once the tree is complete. */
  children: Map<string, FatNode>;
  /** Number of the first cluster; 0 for an empty file and for the root of FAT12 and FAT16. */
  cluster: number;
}

/** What a tree cannot have on FAT. */
const REFUSED: Partial<Record<Entry['type'], string>> = {
  symlink: 'FAT has no symbolic links: put a copy of the target there, or leave it out',
  'character-device': 'FAT has no devices: leave it out',
  'block-device': 'FAT has no devices: leave it out',
  fifo: 'FAT has no pipes: leave it out',
};

/** @throws RangeError for what the format cannot hold, and for an entry below something that is not a folder */
export async function fatTree(tree: Tree | Iterable<Entry>): Promise<FatNode> {
  const root = await growTree(nodeOf(directory(''), ''), checked(tree), { childOf, refusal });
  for (const node of inOrder(root)) if (node.entry.type === 'directory') finishFolder(node);
  return root;
}

const nodeOf = (entry: Entry, name: string): FatNode => ({ entry, name, short: '', children: new Map(), cluster: 0 });

const refusal = (path: string, reason: string): RangeError => new RangeError(`${JSON.stringify(path)}: ${reason}`);

async function* checked(tree: Tree | Iterable<Entry>): Tree {
  for await (const entry of tree) {
    checkEntry(entry);
    yield entry;
  }
}

function checkEntry({ path, type, size }: Entry): void {
  const reason = REFUSED[type];
  if (reason !== undefined) throw refusal(path, reason);
  if (path.split('/').length > MAX_DEPTH) throw refusal(path, `more than ${MAX_DEPTH} folders within each other`);
  if (size > MAX_FILE)
    throw refusal(
      path,
      `${size} bytes, and a file on FAT has at most ${MAX_FILE}: split it, or use another filesystem`,
    );
}

function childOf(folder: FatNode, name: string, initial: () => Entry, { path: wanted }: Entry): FatNode {
  const key = fold(name);
  const found = folder.children.get(key);
  if (found?.name === name) return found;
  if (found) throw refusal(wanted, `differs only in case from ${JSON.stringify(found.entry.path)}: rename one of them`);
  const problem = problemOf(name);
  if (problem !== undefined) throw refusal(wanted, `the name ${JSON.stringify(name)} ${problem}: rename it`);
  const child = nodeOf(initial(), name);
  folder.children.set(key, child);
  return child;
}

/** All nodes, each folder before its contents. */
export function inOrder(node: FatNode, all: FatNode[] = []): FatNode[] {
  all.push(node);
  for (const child of node.children.values()) inOrder(child, all);
  return all;
}

function finishFolder(folder: FatNode): void {
  folder.children = new Map([...folder.children].sort(([, { name: a }], [, { name: b }]) => (a < b ? -1 : 1)));
  const all = [...folder.children.values()];
  const short = shortNames(all.map(({ name }) => name));
  for (const node of all) node.short = short.get(node.name) ?? '';
  if (slotsOf(folder) > MAX_SLOTS)
    throw refusal(folder.entry.path, `${all.length} names do not fit into one FAT folder: spread them over several`);
}

export const hasLongName = ({ name, short }: FatNode): boolean => name !== short;

/** Slots of a folder. The root counts one for the label, others two for themselves and their parent. */
export const slotsOf = ({ name, children }: FatNode): number =>
  [...children.values()].reduce(
    (sum, child) => sum + 1 + (hasLongName(child) ? partsOf(child.name) : 0),
    name === '' ? 1 : 2,
  );

/** Bytes of the content of a file, or of a folder's slots. */
export const lengthOf = (node: FatNode): number =>
  node.entry.type === 'directory' ? slotsOf(node) * SLOT : node.entry.size;

/** Bytes that the nodes take in clusters. */
export const bytesNeeded = (nodes: readonly FatNode[], clusterSize: number): number =>
  nodes.reduce((sum, node) => sum + roundUp(lengthOf(node), clusterSize), 0);
