/** Copies what was built to where the user wants it. */
import { chmod, mkdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { messageOf, NodeosError, replaceFile } from '@nodeos/base';
import { copyFileWithHoles } from '@nodeos/block';

/**
 * Copies a file to a folder by a rename, with its mode and its holes: most of a disk is holes.
 * @returns the path of the copy
 * @throws NodeosError if the folder cannot be written; no half-written file stays
 */
export async function exportFile(file: string, dir: string): Promise<string> {
  const path = join(dir, basename(file));
  try {
    const { mode } = await stat(file);
    await mkdir(dir, { recursive: true });
    await replaceFile(path, async (temporary) => {
      await copyFileWithHoles(file, temporary);
      await chmod(temporary, mode & 0o777);
    });
    return path;
  } catch (error) {
    throw new NodeosError(`cannot copy ${file} to ${path}: ${messageOf(error)}`, { cause: error });
  }
}
