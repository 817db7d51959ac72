/**
 * The root filesystem as an image, for machines that mount their root over the network from any server
 * (docs/stream.md).
 */
import { join } from 'node:path';
import { artifact, inputPath, type Artifact, type StepContext } from '@nodeos/engine';
import { writeErofs } from '@nodeos/fs';
import type { Target } from '@nodeos/targets';
import { rootTree, type Part } from './part.js';

const FILE = 'root.erofs';

export function rootImage(target: Target, parts: readonly Part[]): Artifact<'image'> {
  const step = {
    name: 'root',
    target,
    recipe: [import.meta.url, ...parts.map(({ recipe }) => recipe)],
    inputs: Object.fromEntries(parts.map((part) => [part.name, part.artifact.step])),
    isLocal: true,
    async build(context: StepContext) {
      const tree = await rootTree(parts, ({ name, artifact }) => inputPath(context, name, artifact));
      await writeErofs(tree, join(context.dir, FILE), { tails: true });
    },
  };
  return artifact(step, 'image', FILE);
}
