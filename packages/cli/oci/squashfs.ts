/**
 * squashfs, by tar2sqfs of squashfs-tools-ng. It gets the merged tree: given layers, it would keep whiteouts as files,
 * and fail where a path comes twice.
 * https://github.com/AgentD/squashfs-tools-ng
 */
import { dirname, join } from 'node:path';
import { run } from '@nodeos/engine';
import { writeTar, type Entry } from '@nodeos/tree';

/**
 * @param path in a folder of its own, where an archive is put while it is made
 * @throws NodeosError if tar2sqfs fails or is not installed
 */
export async function writeSquashfs(tree: () => Iterable<Entry>, path: string, signal: AbortSignal): Promise<void> {
  const archive = join(dirname(path), 'archive.tar');
  await writeTar(tree(), archive);
  // The program reads standard input only.
  const script = 'exec tar2sqfs --quiet --force --no-skip --compressor zstd --comp-extra level=9 "$1" < "$2"';
  await run('sh', ['-c', script, 'sh', path, archive], { signal });
}
