/**
 * Further archives behind an initramfs, for what is of one machine, or of one run of it: the kernel unpacks them one after
 * the other. Secrets are no step, and never in the cache.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { entryPath, PATHS } from '@nodeos/contract';
import { directory, file, writeCpio, type Entry } from '@nodeos/tree';

/**
 * Writes the initramfs, and behind it an archive of the entries, into a new file that only its owner can read.
 * @throws Error with the code EEXIST if there is one of that name
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

/** The end of the names of a root's exports (docs/stream.md). */
export const secretEntries = (secret: string): Entry[] => [
  directory('nbd', 0o700),
  file(entryPath(PATHS.nbdSecret), `${secret}\n`, 0o400),
];
