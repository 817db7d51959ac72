/**
 * Appends archives to an initramfs, for data of one machine or one run. The kernel unpacks the archives one after the
 * other. Secrets are not built by a step, so they never enter the cache.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { entryPath, PATHS } from '@nodeos/contract';
import { directory, file, writeCpio, type Entry } from '@nodeos/tree';

/**
 * Writes the initramfs, followed by an archive of the entries, to a new file that only its owner can read.
 * @throws Error with the code EEXIST if `path` exists
 */
export async function appendEntries(initramfs: string, entries: readonly Entry[], path: string): Promise<void> {
  const work = await mkdtemp(join(dirname(path), '.nodeos-'));
  try {
    const archive = join(work, 'archive');
    await writeCpio(entries, archive);
    for (const [index, part] of [initramfs, archive].entries())
      await pipeline(createReadStream(part), createWriteStream(path, { flags: index === 0 ? 'wx' : 'a', mode: 0o600 }));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The file with the secret end of the root's export names (docs/stream.md). */
export const secretEntries = (secret: string): Entry[] => [
  directory('nbd', 0o700),
  file(entryPath(PATHS.nbdSecret), `${secret}\n`, 0o400),
];
