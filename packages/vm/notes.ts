/** Keeps test results about this host in a file of the cache: a table from ids to answers. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { replaceFile } from '@nodeos/base';

/**
 * Looks up an answer, or finds it out and keeps it.
 * @param id identifies the question and everything that the answer depends on
 * @param compute returns the answer; undefined if it cannot be found out now, which is not kept
 */
export async function noted<T extends string | undefined>(
  path: string,
  id: string,
  compute: () => Promise<T>,
): Promise<T | string> {
  const notes = await readNotes(path);
  const known = notes[id];
  if (known !== undefined) return known;
  const answer = await compute();
  if (answer === undefined) return answer;
  // If the answer cannot be kept, the next start only has to test again.
  await mkdir(dirname(path), { recursive: true })
    .then(() => replaceFile(path, (temporary) => writeFile(temporary, JSON.stringify({ ...notes, [id]: answer }))))
    .catch(() => undefined);
  return answer;
}

/** Reads the table; empty if it cannot be read. */
async function readNotes(path: string): Promise<Record<string, string>> {
  try {
    const notes: unknown = JSON.parse(await readFile(path, 'utf8'));
    return Object.fromEntries(Object.entries(notes ?? {}).filter(([, answer]) => typeof answer === 'string'));
  } catch {
    return {};
  }
}
