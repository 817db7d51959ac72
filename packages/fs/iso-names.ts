/** Names of the primary volume (ECMA-119 7.5, 7.6) and of Joliet, unique within each folder. */
import { nameOf, type Node } from './iso-tree.js';

/** Characters of a name in the primary volume: of a file without its dot, and of a folder. */
const MAX_FILE = 30;
const MAX_FOLDER = 31;
const MAX_EXTENSION = 8;
/** UCS-2 units. */
const MAX_JOLIET = 64;
const MAX_JOLIET_EXTENSION = 16;
/** Every file has one version. */
const VERSION = ';1';

/** A name that may have to change: the middle is put between stem and extension, which are cut to make room. */
interface Name {
  readonly node: Node;
  with(middle: string): string;
}

/** Identifiers in directory records, with upper-case letters, digits and `_`. */
export const primaryNames = (nodes: readonly Node[]): Map<Node, Buffer> =>
  identifiers(nodes, primaryName, (name, isFile) =>
    Buffer.from(isFile ? `${name.includes('.') ? name : `${name}.`}${VERSION}` : name, 'latin1'),
  );

/** Identifiers in UCS-2, most significant byte first. Characters above U+FFFF stay two units, as in UTF-16. */
export const jolietNames = (nodes: readonly Node[]): Map<Node, Buffer> =>
  identifiers(nodes, jolietName, (name, isFile) => ucs2(isFile ? `${name}${VERSION}` : name));

export const ucs2 = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();

function identifiers(
  nodes: readonly Node[],
  nameFor: (node: Node) => Name,
  encode: (name: string, isFile: boolean) => Buffer,
): Map<Node, Buffer> {
  // By their names without versions: shorter ones first, as if they were filled up.
  const names = [...unique(nodes.map(nameFor))].sort(([a], [b]) => (a < b ? -1 : 1));
  return new Map(names.map(([name, node]) => [node, encode(name, node.entry.type !== 'directory')]));
}

function primaryName(node: Node): Name {
  const plain = (text: string): string => text.toUpperCase().replace(/[^A-Z0-9_]/gu, '_');
  if (node.entry.type === 'directory') {
    const stem = plain(nameOf(node));
    return { node, with: (middle) => stem.slice(0, MAX_FOLDER - middle.length) + middle };
  }
  const [stem, extension] = split(nameOf(node), MAX_EXTENSION, plain);
  const end = extension === '' ? '' : `.${extension}`;
  return { node, with: (middle) => stem.slice(0, MAX_FILE - extension.length - middle.length) + middle + end };
}

function jolietName(node: Node): Name {
  // eslint-disable-next-line no-control-regex -- Joliet forbids control characters
  const plain = (text: string): string => text.replace(/[\0-\x1f*/:;?\\]/g, '_');
  const [stem, extension] =
    node.entry.type === 'directory' ? [plain(nameOf(node)), ''] : split(nameOf(node), MAX_JOLIET_EXTENSION, plain);
  const end = extension === '' ? '' : `.${extension}`;
  // The first half of a character of two units is not left alone.
  const cut = (length: number): string => stem.slice(0, length).replace(/[\ud800-\udbff]$/, '');
  return { node, with: (middle) => cut(MAX_JOLIET - end.length - middle.length) + middle + end };
}

/** The name before and after its last dot. An extension that is too long is part of the stem. */
function split(name: string, longest: number, plain: (text: string) => string): [stem: string, extension: string] {
  const dot = name.lastIndexOf('.');
  const extension = dot > 0 ? plain(name.slice(dot + 1)) : '';
  return extension.length <= longest && extension !== '' ? [plain(name.slice(0, dot)), extension] : [plain(name), ''];
}

/** Numbers the names that are taken already. Names that need no change come first. */
function unique(names: readonly Name[]): Map<string, Node> {
  const taken = new Map<string, Node>();
  const numbers = new Map<string, number>();
  const isSame = (name: Name): boolean => name.with('') === nameOf(name.node);
  for (const name of [...names.filter(isSame), ...names.filter((one) => !isSame(one))]) {
    const wanted = name.with('');
    let [free, number] = [wanted, numbers.get(wanted) ?? 0];
    while (taken.has(free)) free = name.with(String(++number));
    numbers.set(wanted, number);
    taken.set(free, name.node);
  }
  return taken;
}
