/** Files of an image, found as its own programs find them: links are followed, and do not lead out of it. */
import { collected, NodeosError } from '@nodeos/base';
import type { Entry } from '@nodeos/tree';

/** An entry by its path, without a slash at its start. The last part is not followed. */
export type FindEntry = (path: string) => Promise<Entry | undefined>;

/** Links to follow on the way to one file, as Linux. */
const MAX_LINKS = 40;

export class ImageFiles {
  constructor(private readonly find: FindEntry) {}

  /** @returns undefined if there is no such file, or links lead to none */
  async at(path: string): Promise<Entry | undefined> {
    const found: string[] = [];
    const ahead = path.split('/').reverse();
    let entry: Entry | undefined = await this.find('');
    let links = 0;
    for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
      if (name === '' || name === '.') continue;
      if (name === '..') found.pop();
      else found.push(name);
      entry = await this.find(found.join('/'));
      if (!entry) return undefined;
      if (entry.type !== 'symlink') continue;
      if (++links > MAX_LINKS) return undefined;
      const { link = '' } = entry;
      if (link.startsWith('/')) found.length = 0;
      else found.pop();
      ahead.push(...link.split('/').reverse());
      entry = await this.find(found.join('/'));
    }
    return entry;
  }

  /**
   * The text of a file; empty if there is no such file.
   * @param most bytes
   * @throws NodeosError if it is longer
   */
  async text(path: string, most: number): Promise<string> {
    const entry = await this.at(path);
    if (entry?.type !== 'file' || !entry.open) return '';
    const tooLong = (): Error =>
      new NodeosError(`${path} has ${entry.size} bytes, more than the ${most} that are read`);
    return (await collected(entry.open(), most, tooLong)).toString();
  }
}

/** The first `length` bytes of a file from `offset` on; fewer at its end. */
export async function bytesOf(entry: Entry, length: number, offset = 0): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let missing = Math.min(length, entry.size - offset);
  if (missing <= 0) return Buffer.alloc(0);
  for await (const part of entry.open?.(offset) ?? []) {
    parts.push(part.subarray(0, missing));
    missing -= Math.min(part.length, missing);
    if (missing === 0) break;
  }
  return Buffer.concat(parts);
}
