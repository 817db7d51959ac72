/**
 * An empty ext4 filesystem, for what a machine changes over a root that cannot be written. Always the same, so that a
 * copy-on-write file over it can be used with any later build.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Step, Target } from '@nodeos/build';

/** The file's name in the step's output. */
export const UPPER = 'upper.ext4';

/** Bytes; the file is sparse, and so is what is written over it. */
const SIZE = 8 * 2 ** 30;
const UUID = '6e6f6465-6f73-4075-9070-657200000001';

const FEATURES =
  'none,has_journal,ext_attr,extent,64bit,metadata_csum,sparse_super,large_file,huge_file,dir_index,filetype';
const EXTENDED = `hash_seed=${UUID},lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0`;
const OPTIONS = [
  ...['-q', '-F', '-b', '4096', '-I', '256', '-O', FEATURES, '-E', EXTENDED],
  // No reserved blocks: nobody logs in to clean up. A small journal: every machine's file has it.
  ...['-m', '0', '-J', 'size=16', '-U', UUID, '-L', 'nodeos-upper'],
];

export function upper(target: Target): Step {
  return {
    name: 'upper',
    target,
    recipe: import.meta.url,
    parameters: { size: SIZE, options: OPTIONS },
    tools: ['mke2fs'],
    async build(context) {
      const path = join(context.dir, UPPER);
      const image = await open(path, 'w');
      await image.truncate(SIZE);
      await image.close();
      await context.run('mke2fs', [...OPTIONS, path], {
        // The tool's own configuration differs from host to host.
        env: { MKE2FS_CONFIG: '/dev/null', E2FSPROGS_FAKE_TIME: '1' },
      });
    },
  };
}
