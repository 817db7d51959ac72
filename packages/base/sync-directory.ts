import { open } from 'node:fs/promises';

/** Syncs a folder, so that new and renamed files in it survive a crash. */
export async function syncDirectory(path: string): Promise<void> {
  const folder = await open(path, 'r');
  await folder.sync().finally(() => folder.close());
}
