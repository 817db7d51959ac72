/** The tree of an ISO 9660 image: its entries by name, and where their contents are. */
import { directory, type Entry, type Tree } from '@nodeos/tree';
import type { Place } from './image.js';
import { SECTOR } from './iso-format.js';
import { growTree } from './nodes.js';

export interface Node {
  entry: Entry;
  /** Nodes by name. */
  readonly children: Map<string, Node>;
  /** Where the content of a file is. Empty for anything else, and for an empty file. */
  place: Place;
}

/** Bytes of a name in UTF-8. */
const MAX_NAME = 255;
const NOWHERE: Place = { offset: 0, length: 0 };

const nodeOf = (entry: Entry): Node => ({ entry, children: new Map(), place: NOWHERE });

/** @throws RangeError for a name that the format cannot hold, and for an entry below something that is not a folder */
export const treeOf = (tree: Tree | Iterable<Entry>): Promise<Node> =>
  growTree(nodeOf(directory('')), tree, {
    childOf(folder, name, initial, entry) {
      checkName(name, entry);
      const child = folder.children.get(name) ?? nodeOf(initial());
      folder.children.set(name, child);
      return child;
    },
    refusal: (path, reason) => new RangeError(`${path}: ${reason}`),
  });

function checkName(name: string, { path }: Entry): void {
  const bytes = Buffer.from(name);
  const isUsable = bytes.length > 0 && bytes.length <= MAX_NAME && name !== '.' && name !== '..';
  // What is not Unicode would be replaced in UTF-8, and two names could become one.
  if (!isUsable || name.includes('\0') || bytes.toString() !== name)
    throw new RangeError(`${JSON.stringify(path)}: ISO 9660 has no room for the name ${JSON.stringify(name)}`);
}

/** The same order wherever nodes came from. */
export const byPath = (one: Node, other: Node): number => (one.entry.path < other.entry.path ? -1 : 1);

export const nameOf = ({ entry: { path } }: Node): string => path.slice(path.lastIndexOf('/') + 1);

/** Whether the node has content, which lies somewhere in the image. */
export const hasContent = ({ entry }: Node): boolean => entry.type === 'file' && entry.size > 0;

/** Takes the places of files whose contents are in the image already. @throws RangeError for a place that is none */
export function takePlaces(files: readonly Node[], places: ReadonlyMap<string, Place>): void {
  for (const node of files) {
    const { path, size } = node.entry;
    const place = places.get(path);
    if (!place || size === 0) continue;
    if (place.offset % SECTOR !== 0) throw new RangeError(`${path}: byte ${place.offset} is no multiple of ${SECTOR}`);
    if (place.length !== size) throw new RangeError(`${path}: a place of ${place.length} bytes for ${size} bytes`);
    node.place = place;
  }
}
