/**
 * The filesystem that keeps a machine's changes (`--persist FILE`): an ordinary ext4 image, sparse, made when it is first
 * used. It can be looked at with the tools of any Linux: `e2fsck -fn FILE`, `mount -o loop,ro FILE /mnt`.
 */
import { truncate, writeFile } from 'node:fs/promises';
import { file, lockFile, withClose, type BlockBackend } from '@nodeos/block';
import { codeOf, exists, messageOf, NodeosError, replaceFile } from '@nodeos/base';
import { run } from '@nodeos/engine';

/** Bytes of a new one. It takes as much room on the disk as is in it. */
const SIZE = 8 * 2 ** 30;
/** As the kernel of the systems can mount it, whatever the tool's configuration on this host says. */
const FEATURES =
  'none,has_journal,ext_attr,extent,64bit,metadata_csum,sparse_super,large_file,huge_file,dir_index,filetype';
const OPTIONS = [
  ...['-q', '-F', '-b', '4096', '-I', '256', '-O', FEATURES],
  ...['-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0'],
  // Nobody logs in to clean up: no reserved blocks.
  ...['-m', '0', '-J', 'size=64', '-L', 'nodeos-upper'],
];

/**
 * Opens it, and makes it if it is not there. `close` gives it back to others.
 * @throws NodeosError if another machine has it, or it cannot be made
 */
export async function openUpper(path: string): Promise<BlockBackend> {
  const unlock = await lockFile(`${path}.lock`).catch((error: unknown) => {
    const hint = codeOf(error) === 'EBUSY' ? { hint: 'end the other machine, or take another file' } : {};
    throw new NodeosError(`--persist ${path}: ${messageOf(error)}`, hint);
  });
  try {
    if (!(await exists(path))) await make(path);
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

/** Under another name until it is whole; what a machine keeps is for nobody else to read. */
const make = (path: string): Promise<void> =>
  replaceFile(path, async (made) => {
    await writeFile(made, '', { mode: 0o600 });
    await truncate(made, SIZE);
    await run('mke2fs', [...OPTIONS, made], { env: { MKE2FS_CONFIG: '/dev/null' } });
  });
