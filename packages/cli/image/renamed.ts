/** What is at a location, under another name. */
import { posix } from 'node:path';
import type { Tree } from '@nodeos/tree';
import type { Io } from '../command.js';
import { entriesBelow, type Files } from './open.js';

/**
 * The entries at and below a path, which begins with `/`, with `name` instead of it. With an empty name, a folder itself is the entry
 * `''`, which is left out if it is the root, and a file keeps its name. A link to a file that is not among them is a file of its own.
 */
export async function* renamed(files: Files, path: string, name: string, { signal }: Pick<Io, 'signal'>): Tree {
  const from = path.slice(1);
  let isFile: boolean | undefined;
  const renamedPath = (old: string): string => {
    const rest = from === '' ? old : old.slice(from.length + 1);
    if (isFile && name === '') return posix.basename(from);
    return [name, rest].filter((part) => part !== '').join('/');
  };
  const isWithin = (old: string): boolean => from === '' || old === from || old.startsWith(`${from}/`);
  for await (const { hardLink, ...entry } of entriesBelow(files, from, { signal })) {
    isFile ??= entry.path === from && entry.type !== 'directory';
    const link = hardLink !== undefined && isWithin(hardLink) ? { hardLink: renamedPath(hardLink) } : {};
    yield { ...entry, ...link, path: renamedPath(entry.path) };
  }
}

/** Entries without any folder among them. @throws what `refuse` makes, for a folder */
export async function* withoutFolders(tree: Tree, refuse: () => Error): Tree {
  for await (const entry of tree) {
    if (entry.type === 'directory') throw refuse();
    yield entry;
  }
}
