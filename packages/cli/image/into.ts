/** Entries as files of an image. */
import type { FromTreeOptions, MountedFilesystem } from '@nodeos/linuxfs';
import type { Entry, Tree } from '@nodeos/tree';

/**
 * Writes entries into a mounted filesystem. What it cannot hold, such as links on FAT, is left out.
 * @returns what was left out, a line each. @throws FsError of writing; the signal's reason
 */
export async function writeToImage(
  mounted: MountedFilesystem,
  tree: Tree,
  options: Omit<FromTreeOptions, 'onRefused'>,
): Promise<string[]> {
  const refused: Entry[] = [];
  await mounted.fromTree(tree, { ...options, onRefused: (entry) => refused.push(entry) });
  if (refused.length === 0) return [];
  return [
    `${refused.length} links and devices are left out, which ${mounted.type} has not, such as ${refused[0]?.path}`,
  ];
}
