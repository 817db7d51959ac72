/** The runtime as a part of a root filesystem: its /usr. */
import { join } from 'node:path';
import { artifact, type Step } from '@nodeos/engine';
import type { Part } from '@nodeos/rootfs';
import { fromDirectory } from '@nodeos/tree';

/** @param runtime a step with the output that `runtime.ts` describes */
export const runtimePart = (runtime: Step): Part => ({
  name: 'runtime',
  artifact: artifact(runtime, 'folder'),
  recipe: import.meta.url,
  large: true,
  tree: (output) => fromDirectory(join(output, 'root'), { prefix: 'usr' }),
});
