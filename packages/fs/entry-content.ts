/** The contents of entries, for the descriptions of images. */
import type { RegionSource } from '@nodeos/block';
import type { Entry } from '@nodeos/tree';

/**
 * The content of a file, in memory; undefined for a file of this machine, for an empty file, and for anything but a
 * file.
 * @throws RangeError if its length differs from its size
 */
export async function heldContent(entry: Entry): Promise<Buffer | undefined> {
  if (entry.type !== 'file' || entry.host || entry.size === 0) return undefined;
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const bytes of entry.open?.() ?? []) {
    length += bytes.length;
    if (length > entry.size) break;
    parts.push(Buffer.from(bytes));
  }
  if (length !== entry.size) throw new RangeError(`${entry.path}: ${length} bytes instead of ${entry.size}`);
  return Buffer.concat(parts);
}

/** The content of a file of this machine from `offset` on. */
export function hostSource({ host, size, path }: Entry, offset: number): RegionSource {
  if (!host) throw new Error(`${path}: no content`);
  const { offset: start = 0, size: whole = size, ...file } = host;
  return { ...file, size: whole, offset: start + offset };
}
