/** What places answer alike. */
import { NodeosError } from '@nodeos/base';

export const tooLarge = (path: string, most: number): NodeosError =>
  new NodeosError(`${path}: has more than the ${most} bytes that belong there`);

/** Reads a body as a whole. @throws NodeosError if it has more than `most` bytes */
export async function bounded(body: AsyncIterable<Uint8Array>, most: number, path: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of body) {
    length += part.length;
    if (length > most) throw tooLarge(path, most);
    parts.push(part);
  }
  const [only] = parts;
  return parts.length === 1 && only ? only : Buffer.concat(parts, length);
}
