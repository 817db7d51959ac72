import { open } from 'node:fs/promises';

/** Makes the names in a folder durable: a new file's, or one that was renamed. */
export async function syncDirectory(path: string): Promise<void> {
  const folder = await open(path, 'r');
  await folder.sync().finally(() => folder.close());
}
