/**
 * The filesystem that keeps a machine's changes (`--persist FILE`): an ordinary sparse ext4 image, created at the first
 * use. The tools of any Linux can inspect it: `e2fsck -fn FILE`, `mount -o loop,ro FILE /mnt`.
 */
import { truncate, writeFile } from 'node:fs/promises';
import { file, lockFile, withClose, type BlockBackend } from '@nodeos/block';
import { codeOf, exists, messageOf, NodeosError, replaceFile } from '@nodeos/base';
import { run } from '@nodeos/engine';

/** Size of a new image in bytes. On disk, it takes only as much space as its contents. */
const SIZE = 8 * 2 ** 30;
/** The ext4 features that the systems' kernel supports, regardless of the host's mke2fs configuration. */
const FEATURES =
  'none,has_journal,ext_attr,extent,64bit,metadata_csum,sparse_super,large_file,huge_file,dir_index,filetype';
const OPTIONS = [
  ...['-q', '-F', '-b', '4096', '-I', '256', '-O', FEATURES],
  ...['-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0'],
  // No reserved blocks, because nobody logs in to clean up.
  ...['-m', '0', '-J', 'size=64', '-L', 'nodeos-upper'],
];

/**
 * Opens the image, and creates it if it is missing. `close` releases its lock.
 * @throws NodeosError if another machine has locked it, or it cannot be created
 */
export async function openUpper(path: string): Promise<BlockBackend> {
  const unlock = await lockFile(`${path}.lock`).catch((error: unknown) => {
    const hint = codeOf(error) === 'EBUSY' ? { hint: 'end the other machine, or take another file' } : {};
    throw new NodeosError(`--persist ${path}: ${messageOf(error)}`, hint);
  });
  try {
    if (!(await exists(path))) await createDisk(path);
    const backend = await file(path);
    return withClose(backend, async () => {
      await backend.close();
      await unlock();
    });
  } catch (error) {
    await unlock();
    if (error instanceof NodeosError) throw error;
    throw new NodeosError(`--persist ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Creates the image under a temporary name. Only the owner can read it. */
const createDisk = (path: string): Promise<void> =>
  replaceFile(path, async (temporary) => {
    await writeFile(temporary, '', { mode: 0o600 });
    await truncate(temporary, SIZE);
    await run('mke2fs', [...OPTIONS, temporary], { env: { MKE2FS_CONFIG: '/dev/null' } });
  });
