/** What is at a location, under another name. */
import { posix } from 'node:path';
import type { Tree } from '@nodeos/tree';
import type { Io } from '../command.js';
import type { Location } from './location.js';
import { entriesBelow, type Files } from './open.js';

/**
 * The entries at and below a location with `name` instead of its path. With an empty name, a folder itself is the entry
 * `''`, which is left out if it is the root, and a file keeps its name. A link to a file that is not among them is a file of its own.
 */
export async function* renamed(files: Files, { path }: Location, name: string, io: Io): Tree {
  const from = path.slice(1);
  let isFile: boolean | undefined;
  const renamedPath = (old: string): string => {
    const rest = from === '' ? old : old.slice(from.length + 1);
    if (isFile && name === '') return posix.basename(from);
    return [name, rest].filter((part) => part !== '').join('/');
  };
  const isWithin = (old: string): boolean => from === '' || old === from || old.startsWith(`${from}/`);
  for await (const { hardLink, ...entry } of entriesBelow(files, from, io)) {
    isFile ??= entry.path === from && entry.type !== 'directory';
    const link = hardLink !== undefined && isWithin(hardLink) ? { hardLink: renamedPath(hardLink) } : {};
    yield { ...entry, ...link, path: renamedPath(entry.path) };
  }
}
