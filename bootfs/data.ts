/**
 * Builds the filesystem for the users' data: small and empty. A machine enlarges it to the end of its disk
 * (packages/init/guest/data.ts).
 */
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { APP_ID } from '@nodeos/contract';
import { artifact, type Artifact, type Step } from '@nodeos/engine';
import type { Target } from '@nodeos/targets';

const FILE = 'data.ext4';
/** Bytes. */
const SIZE = 32 << 20;
/** A filesystem has an id of its own only after its machine has used it. */
const UUID = '6e6f6465-6f73-8000-8000-000000000001';
/** FAT's epoch, as in the engine: 1980-01-01, in seconds since 1970. */
const EPOCH = '315532800';

const OPTIONS = [
  ...['-q', '-F', '-t', 'ext4', '-b', '4096', '-I', '256', '-i', '16384', '-m', '0', '-L', 'data', '-U', UUID],
  // mke2fs leaves room for the descriptions of so many blocks: 1 TiB. Beyond that the kernel finds other places.
  ...['-E', `hash_seed=${UUID},lazy_itable_init=0,lazy_journal_init=0,root_owner=${APP_ID}:${APP_ID},resize=268435456`],
  ...['-O', 'has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize,resize_inode,filetype'],
  ...['-J', 'size=4'],
];

export function dataFilesystem(target: Target): Artifact<'image'> {
  const step: Step = {
    name: 'data',
    target,
    recipe: import.meta.url,
    tools: ['mke2fs'],
    async build(context) {
      const path = join(context.dir, FILE);
      await writeFile(path, '');
      await truncate(path, SIZE);
      // The host's own settings must not matter.
      await writeFile(join(context.work, 'mke2fs.conf'), '[defaults]\n');
      await context.run('mke2fs', [...OPTIONS, path], {
        env: { MKE2FS_CONFIG: join(context.work, 'mke2fs.conf'), E2FSPROGS_FAKE_TIME: EPOCH, SOURCE_DATE_EPOCH: EPOCH },
      });
    },
  };
  return artifact(step, 'image', FILE);
}
