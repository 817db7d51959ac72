/** The root filesystem as an image, for machines whose root comes over the network from any server (docs/stream.md). */
import { join } from 'node:path';
import type { Target } from '@nodeos/targets';
import type { Step } from '@nodeos/engine';
import { writeErofs } from '@nodeos/fs';
import { rootTree, stepsOf, type InitramfsParts } from './build.js';

/** The file's name in the step's output. */
export const ROOT = 'root.erofs';

export function rootImage(target: Target, parts: InitramfsParts): Step {
  return {
    name: 'root',
    target,
    recipe: import.meta.url,
    inputs: Object.fromEntries(stepsOf(parts).map((step) => [step.name, step])),
    async build(context) {
      const tree = await rootTree(parts, ({ name }) => context.input(name));
      await writeErofs(tree, join(context.dir, ROOT), { tails: true });
    },
  };
}
