/** Compares an output folder with the records of its manifest. */
import { lstatSync, type Stats } from 'node:fs';
import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, sha256 } from '@nodeos/base';
import { hashFile, type FileRecord } from './hash.js';

/**
 * Looks for the first difference between the output and its records.
 * @param hash `changed`: hashes only files whose time differs from the record; `all`: hashes every file
 * @returns a description of the first damage, or undefined
 */
export async function firstDamage(
  output: string,
  records: readonly FileRecord[],
  hash: 'changed' | 'all',
): Promise<string | undefined> {
  const names = namesOf(records);
  const root = await unknownName(output, '', names.get(''));
  if (root !== undefined) return root;
  for (const record of records) {
    const info = lstatSync(join(output, record.path), { throwIfNoEntry: false }); // a promise costs ten times as much
    const isHashed = hash === 'all' || !hasSameTime(record, info);
    const found =
      differenceOf(record, info) ??
      (isHashed ? await damagedContent(output, record, names.get(record.path)) : undefined);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Reading a symbolic link costs no more than checking its time. */
const hasSameTime = (record: FileRecord, info: Stats | undefined): boolean =>
  record.type !== 'symlink' && info !== undefined && Math.floor(info.mtimeMs) === record.mtime;

/** What `lstat` shows. */
function differenceOf(record: FileRecord, info: Stats | undefined): string | undefined {
  if (info === undefined) return `${record.path} is missing`;
  if (typeOf(info) !== record.type) return `${record.path} is no longer a ${record.type}`;
  if (record.type === 'file' && info.size !== record.size) {
    return `${record.path} has ${info.size} bytes instead of ${record.size}`;
  }
  // The permissions of a symbolic link differ between systems and have no meaning.
  if (record.type !== 'symlink' && (info.mode & 0o7777) !== record.mode) {
    return `the permissions of ${record.path} have changed`;
  }
  return undefined;
}

async function damagedContent(
  output: string,
  record: FileRecord,
  names: ReadonlySet<string> | undefined,
): Promise<string | undefined> {
  const path = join(output, record.path);
  if (record.type === 'directory') return unknownName(output, record.path, names);
  try {
    const content = record.type === 'file' ? await hashFile(path) : sha256(await readlink(path));
    return content === record.sha256 ? undefined : `the content of ${record.path} has changed`;
  } catch (error) {
    return `${record.path} cannot be read: ${messageOf(error)}`;
  }
}

async function unknownName(output: string, folder: string, known?: ReadonlySet<string>): Promise<string | undefined> {
  try {
    const name = (await readdir(join(output, folder))).find((candidate) => !known?.has(candidate));
    return name === undefined ? undefined : `${join(folder, name)} was not there`;
  } catch (error) {
    return `the folder cannot be read: ${messageOf(error)}`;
  }
}

/** The names in each folder, keyed by the folder's path. */
function namesOf(records: readonly FileRecord[]): Map<string, Set<string>> {
  const names = new Map<string, Set<string>>();
  for (const { path } of records) {
    const slash = path.lastIndexOf('/');
    const folder = path.slice(0, Math.max(0, slash));
    const known = names.get(folder) ?? new Set();
    names.set(folder, known.add(path.slice(slash + 1)));
  }
  return names;
}

const typeOf = (info: Stats): string =>
  info.isDirectory() ? 'directory' : info.isSymbolicLink() ? 'symlink' : info.isFile() ? 'file' : 'special file';
