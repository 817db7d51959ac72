/**
 * A folder, perhaps on a network filesystem. A new file is written under another name in `tmp/` and renamed, so that a
 * process that is killed leaves whole files, and at most something in `tmp/`.
 */
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, opendir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { codeOf, syncDirectory } from '@nodeos/base';
import { tooLarge } from './answers.js';
import { bodyOf, type Content, type PrunablePlace, type Stored } from './place.js';

const TEMPORARY = 'tmp';
/** Files that are synced at once. */
const SYNCS = 16;
/** Bytes that are read at once. */
const PIECE = 1 << 20;

export interface FolderOptions {
  /** What was put is remembered for `sync`. Default true; false for a folder that is never synced. */
  readonly isDurable?: boolean;
}

export function folderPlace(
  root: string,
  { isDurable = true }: FolderOptions = {},
): PrunablePlace & Required<Pick<PrunablePlace, 'sync'>> {
  const made = new Set<string>();
  let unsynced = new Set<string>();
  const pathOf = (path: string): string => join(root, path);

  async function put(path: string, content: Content, signal?: AbortSignal): Promise<void> {
    const temporary = join(root, TEMPORARY, randomBytes(12).toString('hex'));
    const target = pathOf(path);
    await makeFolder(dirname(temporary));
    await makeFolder(dirname(target));
    const file = await open(temporary, 'wx', 0o644);
    try {
      await writeFile(file, bodyOf(content), { signal }).finally(() => file.close());
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    if (isDurable) unsynced.add(path);
  }

  async function makeFolder(folder: string): Promise<void> {
    if (made.has(folder)) return;
    await mkdir(folder, { recursive: true });
    made.add(folder);
  }

  async function sync(keep: Iterable<string> = []): Promise<void> {
    const files = new Set([...unsynced, ...keep]);
    unsynced = new Set();
    const work = files.values();
    const syncNext = async (): Promise<void> => {
      for (const path of work) await syncFile(pathOf(path));
    };
    await Promise.all(Array.from({ length: SYNCS }, () => syncNext()));
    // The names: those of new folders are in their parents.
    const folders = new Set([...files].map((path) => dirname(pathOf(path))));
    for (const folder of new Set([...folders, ...[...folders].map(dirname), root])) await syncDirectory(folder);
  }

  async function* list(folder: string): AsyncGenerator<Stored> {
    const entries = await opendir(pathOf(folder), { recursive: true }).catch(gone);
    for await (const entry of entries ?? []) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const found = await stat(path).catch(gone);
      if (found) yield { path: relative(root, path), size: found.size, modified: found.mtimeMs };
    }
  }

  return {
    name: root,
    async get(path, most) {
      const file = await open(pathOf(path)).catch(gone);
      if (!file) return undefined;
      try {
        const { size } = await file.stat();
        if (size > most) throw tooLarge(pathOf(path), most);
        const bytes = Buffer.allocUnsafe(size);
        const { bytesRead } = await file.read(bytes, 0, size, 0);
        return bytes.subarray(0, bytesRead);
      } finally {
        await file.close();
      }
    },
    async open(path) {
      // Opened here, so that a file that is not there is known at once.
      const file = await open(pathOf(path)).catch(gone);
      return file && createReadStream('', { fd: file, highWaterMark: PIECE });
    },
    size: async (path) => (await stat(pathOf(path)).catch(gone))?.size,
    put,
    sync,
    list,
    delete: (path) => rm(pathOf(path), { force: true }),
    async move(from, to) {
      const now = new Date();
      try {
        // First the time: a move that a crash prevents leaves a file that is young, and so stays.
        await utimes(pathOf(from), now, now);
        await makeFolder(dirname(pathOf(to)));
        await rename(pathOf(from), pathOf(to));
        return true;
      } catch (error) {
        if (isGone(error)) return false;
        throw error;
      }
    },
  };
}

const isGone = (error: unknown): boolean => codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';

function gone(error: unknown): undefined {
  if (!isGone(error)) throw error;
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r').catch(gone);
  if (file) await file.sync().finally(() => file.close());
}
