/**
 * A tier on disk: a folder with the chunks that were used last, for any number of processes. Files are written under
 * another name and renamed, so a killed process leaves whole chunks. They are not synced: what a power cut tears is
 * found when it is read, set aside, and fetched again.
 *
 * The bound holds for all processes together: each looks at the folder again after it has added a 32nd of the bound, and
 * the one that then finds it too full deletes the oldest files down to three quarters.
 */
import { mkdir, readdir, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { lockFile } from '@nodeos/block';
import { codeOf } from '@nodeos/base';
import { folderPlace, type Stored } from '@nodeos/places';
import { chunkStore, CHUNKS, pathOfChunk } from '../chunks.js';
import type { Tier } from './tiers.js';

const QUARANTINE = 'quarantine';
/** Files that are set aside, for whoever wants to know what is wrong with the disk. */
const MAX_QUARANTINED = 16;
/** Milliseconds after which a chunk that is used counts as used again. */
const USE = 60_000;
/** Milliseconds after which a file in `tmp/` is what a killed process has left. */
const LEFT = 3_600_000;

export interface DiskTierOptions {
  readonly folder: string;
  /** Bytes of chunks at most. */
  readonly most: number;
  readonly now?: () => number;
}

/** @returns what is deleted, in that order: of a folder that is more than 7/8 full, the oldest files down to three quarters */
export function tooMany<File extends Pick<Stored, 'size' | 'modified'>>(files: readonly File[], most: number): File[] {
  let bytes = files.reduce((sum, { size }) => sum + size, 0);
  if (bytes <= most - most / 8) return [];
  const deleted: File[] = [];
  for (const file of [...files].sort((a, b) => a.modified - b.modified)) {
    if (bytes <= (most / 4) * 3) break;
    deleted.push(file);
    bytes -= file.size;
  }
  return deleted;
}

/** Makes the folder. @throws errors of the disk */
export async function diskTier({ folder, most, now = Date.now }: DiskTierOptions): Promise<Tier> {
  await mkdir(join(folder, CHUNKS), { recursive: true });
  const place = folderPlace(folder, { isDurable: false });
  const chunks = chunkStore(place);
  const used = new Map<string, number>();
  let added = 0;
  let evicting: Promise<void> | undefined;

  /** The order of use is that of the files' times. */
  function touch(id: string): void {
    const time = now();
    if (time - (used.get(id) ?? 0) < USE) return;
    used.set(id, time);
    void utimes(join(folder, pathOfChunk(id)), new Date(time), new Date(time)).catch(() => undefined);
  }

  async function evict(): Promise<void> {
    added = 0;
    used.clear();
    const unlock = await lockFile(join(folder, 'evicting.lock')).catch((error: unknown) => {
      if (codeOf(error) === 'EBUSY') return undefined; // another process is at it
      throw error;
    });
    if (!unlock) return;
    try {
      await removeLeft();
      const files: Stored[] = [];
      for await (const file of place.list(CHUNKS)) files.push(file);
      for (const { path } of tooMany(files, most)) await place.delete(path);
    } finally {
      await unlock();
    }
  }

  async function removeLeft(): Promise<void> {
    for await (const { path, modified } of place.list('tmp')) if (now() - modified > LEFT) await place.delete(path);
  }

  await evict();
  return {
    name: folder,
    has: (id, length) => chunks.has(id, length),
    async get(id) {
      const found = await chunks.get(id);
      if (found) touch(id);
      return found;
    },
    async keep(id, stored) {
      if (stored.length > most / 8) return;
      await chunks.put(id, stored);
      used.set(id, now());
      added += stored.length;
      if (added <= most / 32) return;
      evicting ??= evict().finally(() => (evicting = undefined));
      await evicting;
    },
    async quarantine(id) {
      await place.move(pathOfChunk(id), `${QUARANTINE}/${id}`);
      const names = await readdir(join(folder, QUARANTINE)).catch(() => []);
      for (const name of names.filter((other) => other !== id).slice(MAX_QUARANTINED - 1))
        await rm(join(folder, QUARANTINE, name), { force: true });
    },
    close: () => evicting,
  };
}
