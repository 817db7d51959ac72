/** Entries for the volumes of boot media. */
import type { Entry } from '@nodeos/tree';
import { hostFile, type HostFile } from './host-file.js';

export function entryOf(path: string, { file, size, mtime }: HostFile): Entry {
  return { path, type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, size, host: { file, mtime } };
}

/** @param file a file of this machine */
export const entryAt = async (path: string, file: string): Promise<Entry> => entryOf(path, await hostFile(file));
