/**
 * Where the chunks of an image are: `NODEOSI\1`, and for each record of the recipe, in its order, 4 bytes of the pack's
 * number in the manifest and 4 bytes of the offset in it, little-endian.
 */
import { NodeosError } from '@nodeos/base';
import type { Recipe } from '../recipe/public.js';
import type { Blob } from './manifest.js';

const MAGIC = Buffer.from('NODEOSI\u0001', 'latin1');
const ENTRY = 8;

export interface Location {
  readonly pack: Blob;
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
}

export const packIndexSize = (count: number): number => MAGIC.length + ENTRY * count;

/** @throws NodeosError if the place of a chunk is unknown */
export function encodePackIndex(
  { records }: Recipe,
  packs: readonly Blob[],
  locations: ReadonlyMap<string, Location>,
): Buffer {
  const numbers = new Map(packs.map(({ digest }, number) => [digest, number]));
  const bytes = Buffer.alloc(packIndexSize(records.length));
  MAGIC.copy(bytes);
  records.forEach(({ id }, number) => {
    const { pack, offset } = locations.get(id) ?? { offset: 0 };
    const place = numbers.get(pack?.digest ?? '');
    if (place === undefined) throw new NodeosError(`the chunk ${id} is in no pack`);
    bytes.writeUInt32LE(place, MAGIC.length + number * ENTRY);
    bytes.writeUInt32LE(offset, MAGIC.length + number * ENTRY + 4);
  });
  return bytes;
}

/** @throws NodeosError if the index is not of this recipe, or names places outside of the packs */
export function decodePackIndex(
  bytes: Uint8Array,
  { records }: Recipe,
  packs: readonly Blob[],
  name: string,
): Map<string, Location> {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (input.length !== packIndexSize(records.length) || !input.subarray(0, MAGIC.length).equals(MAGIC))
    throw new NodeosError(`${name}: its index is not of its recipe`);
  return new Map(
    records.map(({ id, storedLength: length }, number) => {
      const pack = packs[input.readUInt32LE(MAGIC.length + number * ENTRY)];
      const offset = input.readUInt32LE(MAGIC.length + number * ENTRY + 4);
      if (!pack || offset + length > pack.size) throw new NodeosError(`${name}: the chunk ${id} lies in no pack`);
      return [id, { pack, offset, length }] as const;
    }),
  );
}
