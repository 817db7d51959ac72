/** The runtime as a filesystem image for /usr. A machine maps it from a disk instead of unpacking it into memory. */
import { join } from 'node:path';
import type { Target } from '@nodeos/targets';
import { artifact, type Artifact, type Step } from '@nodeos/engine';
import { writeErofs } from '@nodeos/fs';
import { fromDirectory } from '@nodeos/tree';

const FILE = 'usr.erofs';

/** The image's size in bytes is a multiple of this huge-page size, because memory devices consist of huge pages. */
const ALIGN = 2 << 20;

/** @param runtime a step with the output that `runtime.ts` describes */
export function runtimeImage(target: Target, runtime: Step): Artifact<'image'> {
  const step: Step = {
    name: 'usr',
    target,
    recipe: import.meta.url,
    inputs: { runtime },
    async build(context) {
      const tree = fromDirectory(join(context.input('runtime'), 'root'));
      await writeErofs(tree, join(context.dir, FILE), { align: ALIGN });
    },
  };
  return artifact(step, 'image', FILE);
}
