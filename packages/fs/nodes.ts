/** Trees of entries by name, from which formats make their folders. */
import { directory, type Entry, type Tree } from '@nodeos/tree';

export interface TreeNode<Node> {
  entry: Entry;
  readonly children: ReadonlyMap<string, Node>;
}

export interface TreeFormat<Node> {
  /**
   * The node of that name in a folder, which is made if it is missing.
   * @param initial gives the entry of a node that is made: a folder, unless its own has come
   * @param entry the one that the node is made for, or a folder of
   * @throws RangeError for a name that the format cannot hold
   */
  readonly childOf: (folder: Node, name: string, initial: () => Entry, entry: Entry) => Node;
  /** The error for an entry that cannot be. */
  readonly refusal: (path: string, reason: string) => RangeError;
  /** Gives a node its entry. Default: sets `entry`. */
  readonly settle?: (node: Node, entry: Entry) => void;
}

/**
 * Sorts entries into the root. A repeated entry replaces the earlier one, and missing folders are made.
 * @throws RangeError for an entry below something that is not a folder, and the errors of `childOf`
 */
export async function growTree<Node extends TreeNode<Node>>(
  root: Node,
  tree: Tree | Iterable<Entry>,
  { childOf, refusal, settle = (node, entry) => void (node.entry = entry) }: TreeFormat<Node>,
): Promise<Node> {
  // Most entries are in the folder of the one before, or in that one itself. So a deep path is not walked for each.
  let [folderPath, folder] = ['', root];
  for await (const entry of tree) {
    const { path } = entry;
    let [from, node] = [0, root];
    if (folder !== root && path.length > folderPath.length && path.startsWith(`${folderPath}/`))
      [from, node] = [folderPath.length + 1, folder];
    while (from <= path.length && path !== '') {
      if (node.entry.type !== 'directory') throw refusal(path, `${node.entry.path} is no folder`);
      const slash = path.indexOf('/', from);
      const end = slash < 0 ? path.length : slash;
      [folderPath, folder] = [path.slice(0, Math.max(from - 1, 0)), node];
      const initial = (): Entry => (end === path.length ? entry : directory(path.slice(0, end)));
      node = childOf(node, path.slice(from, end), initial, entry);
      from = end + 1;
    }
    if (entry.type !== 'directory' && (node === root || node.children.size > 0))
      throw refusal(path, 'was a folder with something in it before');
    settle(node, entry);
    if (entry.type === 'directory') [folderPath, folder] = [path, node];
  }
  return root;
}
