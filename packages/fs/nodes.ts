/** Trees of entries by name, from which formats make their folders. */
import type { Entry, Tree } from '@nodeos/tree';

export interface TreeNode<Node> {
  entry: Entry;
  readonly children: ReadonlyMap<string, Node>;
}

export interface TreeFormat<Node> {
  /**
   * The node of that name in a folder, which is made if it is missing. It becomes a folder until its entry comes.
   * @param path makes the path of a node that is missing
   * @throws RangeError for a name that the format cannot hold
   */
  readonly childOf: (folder: Node, name: string, path: () => string, entry: Entry) => Node;
  /** The error for an entry that cannot be. */
  readonly refusal: (path: string, reason: string) => RangeError;
}

/**
 * Sorts entries into the root. A repeated entry replaces the earlier one, and missing folders are made.
 * @throws RangeError for an entry below something that is not a folder, and the errors of `childOf`
 */
export async function growTree<Node extends TreeNode<Node>>(
  root: Node,
  tree: Tree | Iterable<Entry>,
  { childOf, refusal }: TreeFormat<Node>,
): Promise<Node> {
  for await (const entry of tree) {
    const names = entry.path === '' ? [] : entry.path.split('/');
    let node = root;
    for (const [depth, name] of names.entries()) {
      if (node.entry.type !== 'directory') throw refusal(entry.path, `${node.entry.path} is no folder`);
      node = childOf(node, name, () => names.slice(0, depth + 1).join('/'), entry);
    }
    if (entry.type !== 'directory' && (node === root || node.children.size > 0))
      throw refusal(entry.path, 'was a folder with something in it before');
    node.entry = entry;
  }
  return root;
}
