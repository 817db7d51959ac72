/**
 * Takes nodes and properties out of a device tree, for machines whose model in QEMU lacks the hardware. What is taken out
 * is overwritten with NOP, so nothing moves.
 * https://devicetree-specification.readthedocs.io/en/stable/flattened-format.html
 */
import { NodeosError } from '@nodeos/base';

const MAGIC = 0xd00dfeed;
const BEGIN_NODE = 1;
const END_NODE = 2;
const PROPERTY = 3;
const NOP = 4;
const END = 9;
const WORD = 4;
/** Deeper trees are damaged. */
const MAX_DEPTH = 64;

const aligned = (bytes: number): number => Math.ceil(bytes / WORD) * WORD;

/**
 * A copy of the tree without these parts. Parts that it does not have are passed over.
 * @param paths of nodes, as `/soc/hdmi@7ef00700`, and of properties, as `/chosen:stdout-path`
 * @throws NodeosError if it is no device tree or damaged
 */
export function withoutParts(tree: Uint8Array, paths: readonly string[]): Buffer {
  const copy = Buffer.from(tree);
  if (copy.length < 40 || copy.readUInt32BE(0) !== MAGIC) throw damaged('no magic number');
  const [structure, strings] = [copy.readUInt32BE(8), copy.readUInt32BE(12)];
  const wanted = new Set(paths);
  const open: { readonly path: string; readonly start: number }[] = [];
  let at = structure;
  for (;;) {
    const start = at;
    if (at + WORD > copy.length) throw damaged('it has no end');
    const token = copy.readUInt32BE(at);
    at += WORD;
    if (token === END) return copy;
    const parent = open.at(-1)?.path ?? '';
    if (token === BEGIN_NODE) {
      const name = textAt(copy, at);
      at += aligned(name.length + 1);
      if (open.length === MAX_DEPTH) throw damaged(`more than ${MAX_DEPTH} levels`);
      open.push({ path: open.length === 0 ? '' : `${parent}/${name}`, start });
    } else if (token === END_NODE) {
      const node = open.pop();
      if (!node) throw damaged('a node ends that did not begin');
      if (wanted.has(node.path)) erase(copy, node.start, at);
    } else if (token === PROPERTY) {
      if (at + 2 * WORD > copy.length) throw damaged('a property has no end');
      const name = textAt(copy, strings + copy.readUInt32BE(at + WORD));
      at += 2 * WORD + aligned(copy.readUInt32BE(at));
      if (at > copy.length) throw damaged('a property has no end');
      if (wanted.has(`${parent}:${name}`)) erase(copy, start, at);
    } else if (token !== NOP) throw damaged(`an unknown token, ${token}`);
  }
}

function textAt(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at);
  if (at >= bytes.length || end < 0) throw damaged('a name has no end');
  return bytes.toString('latin1', at, end);
}

function erase(bytes: Buffer, start: number, end: number): void {
  for (let at = start; at < end; at += WORD) bytes.writeUInt32BE(NOP, at);
}

const damaged = (why: string): NodeosError => new NodeosError(`the device tree is damaged: ${why}`);
