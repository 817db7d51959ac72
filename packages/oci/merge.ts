/**
 * Merges layers into one tree, before any format sees it. docs/oci.md says where other tools differ.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md
 *
 * A layer is a set of changes: a whiteout hides what is below the layer and nothing of the layer itself, wherever it is
 * in the archive.
 */
import { NodeosError } from '@nodeos/base';
import { compareNames, type Entry } from '@nodeos/tree';

/** A member of a layer. Of a hard link, `link` is the path of the other name, and the rest does not count. */
export interface MergeRecord extends Omit<Entry, 'type' | 'hardLink' | 'host' | 'open'> {
  readonly type: Entry['type'] | 'hard-link';
}

export interface MergeLayer<Of extends MergeRecord> {
  /** For messages. */
  readonly subject: string;
  /** Where the content of a file can be read, any number of times. */
  contentOf(record: Of): Pick<Entry, 'host' | 'open'>;
}

type Inode = Omit<Entry, 'path' | 'hardLink'>;

interface Node {
  /** Names of the same file have the same one. */
  inode: Inode;
  /** Of a folder. */
  readonly children: Map<string, Node>;
  /** The last layer that has an entry for it, and the last one that has an entry for it or for something in it. */
  said: number;
  touched: number;
}

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Files with which AUFS keeps its own books. */
const AUFS = '.wh..wh.';
/** Links to follow on the way to one file. Linux follows 40, and umoci 255. */
const MAX_LINKS = 255;
/** Each takes some hundred bytes of memory. */
const MAX_ENTRIES = 4_000_000;

/** What a folder is that no layer describes. */
const IMPLICIT: Inode = { type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: 0, size: 0 };

export class Merge {
  readonly #root: Node = { inode: IMPLICIT, children: new Map(), said: -1, touched: -1 };
  #layer = -1;
  #entries = 0;

  /**
   * Applies a layer to those before it.
   * @throws NodeosError for what no layer can have: a hard link to nothing or to a folder, a name such as `.wh...`, a root
   * that is no folder, links that lead in a circle
   */
  async apply<Of extends MergeRecord>(layer: MergeLayer<Of>, records: Iterable<Of> | AsyncIterable<Of>): Promise<void> {
    this.#layer++;
    for await (const record of records) {
      if (++this.#entries > MAX_ENTRIES) throw new NodeosError(`${layer.subject}: more than ${MAX_ENTRIES} files`);
      try {
        this.#add(layer, record);
      } catch (error) {
        if (!(error instanceof MergeError)) throw error;
        throw new NodeosError(`${layer.subject}: ${JSON.stringify(record.path)} ${error.message}`);
      }
    }
  }

  /** The tree, sorted by names. A folder comes before what is in it. */
  *entries(): Generator<Entry> {
    const paths = new Map<Inode, string>();
    const stack = [{ path: '', node: this.#root }];
    for (let next = stack.pop(); next; next = stack.pop()) {
      const { path, node } = next;
      const first = paths.get(node.inode);
      if (first === undefined && node.inode.type !== 'directory') paths.set(node.inode, path);
      yield { ...node.inode, path, ...(first === undefined ? {} : { hardLink: first }) };
      const names = [...node.children.keys()].sort(compareNames).reverse();
      const prefix = path === '' ? '' : `${path}/`;
      for (const name of names) stack.push({ path: prefix + name, node: childOf(node, name) });
    }
  }

  #add<Of extends MergeRecord>(layer: MergeLayer<Of>, record: Of): void {
    const names = record.path === '' ? [] : record.path.split('/');
    const name = names.pop();
    if (name === undefined) return this.#setRoot(record);
    if (names.some((one) => one.startsWith(WHITEOUT)) || (name.startsWith(AUFS) && name !== OPAQUE)) {
      // What is in AUFS's own folders is nobody else's.
      if ((names.find((one) => one.startsWith(WHITEOUT)) ?? name).startsWith(AUFS)) return;
      throw new MergeError('is below a whiteout');
    }
    if (name.startsWith(WHITEOUT)) return this.#hide(names, name);
    const folder = this.#folder(names);
    const old = folder.children.get(name);
    if (record.type === 'hard-link') {
      folder.children.delete(name);
      const inode = this.#target(record.link ?? '');
      folder.children.set(name, this.#node(inode));
    } else if (record.type === 'directory' && old?.inode.type === 'directory') {
      old.inode = inodeOf(layer, record);
      old.said = old.touched = this.#layer;
    } else folder.children.set(name, this.#node(inodeOf(layer, record)));
  }

  #node(inode: Inode): Node {
    return { inode, children: new Map(), said: this.#layer, touched: this.#layer };
  }

  #setRoot(record: MergeRecord): void {
    if (record.type !== 'directory') throw new MergeError('is the root, and no folder');
    const { mode, uid, gid, mtime, nanoseconds, xattrs } = record;
    this.#root.inode = { ...IMPLICIT, mode, uid, gid, mtime, ...only({ nanoseconds, xattrs }) };
    this.#root.said = this.#root.touched = this.#layer;
  }

  /** Removes what the layers below have. A folder that this layer has something in stays for that. */
  #hide(names: readonly string[], name: string): void {
    const hidden = name.slice(WHITEOUT.length);
    if (name !== OPAQUE && ['', '.', '..'].includes(hidden)) throw new MergeError('is a whiteout of no name');
    const folder = this.#find(names)?.at(-1);
    if (!folder) return;
    const wanted = name === OPAQUE ? [...folder.children.keys()] : [hidden];
    const stack = wanted.map((one) => ({ folder, one }));
    for (let next = stack.pop(); next; next = stack.pop()) {
      const parent = next.folder;
      const node = parent.children.get(next.one);
      if (!node) continue;
      if (node.touched < this.#layer) {
        parent.children.delete(next.one);
        continue;
      }
      // Only what is in it is of this layer; nothing is known of the folder itself any more.
      if (node.said < this.#layer) node.inode = IMPLICIT;
      for (const child of node.children.keys()) stack.push({ folder: node, one: child });
    }
  }

  /** The folder of that path, which is made if it is missing. Links on the way are followed, and never lead out. */
  #folder(names: readonly string[]): Node {
    const found = this.#walk(names);
    let parent = this.#root;
    parent.touched = this.#layer;
    for (const { name, node } of found) {
      const next = node ?? { inode: IMPLICIT, children: new Map<string, Node>(), said: -1, touched: this.#layer };
      if (!node) parent.children.set(name, next);
      next.touched = this.#layer;
      parent = next;
    }
    return parent;
  }

  /** The folders on a path, the root first; undefined if one is missing. */
  #find(names: readonly string[]): readonly Node[] | undefined {
    const found = this.#walk(names).map(({ node }) => node);
    return found.every((node) => node !== undefined) ? [this.#root, ...found] : undefined;
  }

  /** The folders on a path without links. What is missing, or no folder, has no node. */
  #walk(names: readonly string[]): { readonly name: string; readonly node: Node | undefined }[] {
    const found: { readonly name: string; readonly node: Node | undefined }[] = [];
    const ahead = [...names].reverse();
    let links = 0;
    for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
      if (name === '' || name === '.') continue;
      if (name === '..') {
        found.pop();
        continue;
      }
      const last = found.at(-1);
      const parent = last ? last.node : this.#root;
      const node = parent?.children.get(name);
      if (node?.inode.type === 'symlink') {
        if (++links > MAX_LINKS) throw new MergeError(`is behind more than ${MAX_LINKS} links`);
        const target = node.inode.link ?? '';
        if (target.startsWith('/')) found.length = 0;
        ahead.push(...target.split('/').reverse());
      } else found.push({ name, node: node?.inode.type === 'directory' ? node : undefined });
    }
    return found;
  }

  /** The file that a hard link is another name of. The last part of the path is not followed. */
  #target(link: string): Inode {
    const names = link.split('/');
    const name = names.pop() ?? '';
    const found = this.#find(names)?.at(-1)?.children.get(name)?.inode;
    if (!found) throw new MergeError(`is a hard link to ${JSON.stringify(link)}, which is not there`);
    if (found.type === 'directory')
      throw new MergeError(`is a hard link to ${JSON.stringify(link)}, which is a folder`);
    return found;
  }
}

class MergeError extends Error {}

function childOf(node: Node, name: string): Node {
  const child = node.children.get(name);
  if (!child) throw new Error(`${name} is gone`);
  return child;
}

function inodeOf<Of extends MergeRecord>(layer: MergeLayer<Of>, record: Of): Inode {
  const { type, mode, uid, gid, mtime, nanoseconds, size, link, rdev, xattrs } = record;
  if (type === 'hard-link') throw new Error('a hard link has no inode of its own');
  // Linux does not use the mode of a link, and shows 0777.
  const inode = {
    type,
    mode: type === 'symlink' ? 0o777 : mode,
    uid,
    gid,
    mtime,
    size,
    ...only({ nanoseconds, link, rdev, xattrs }),
  };
  return type === 'file' ? { ...inode, ...layer.contentOf(record) } : inode;
}

/** Without what is undefined. */
const only = <T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
