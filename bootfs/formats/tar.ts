/** The root filesystem as a tar archive: for containers, chroot, or a machine whose root is a folder. */
import { join } from 'node:path';
import { inputPath } from '@nodeos/engine';
import { rootTree } from '@nodeos/rootfs';
import { writeTar } from '@nodeos/tree';
import type { Format } from './format.js';

const FILE = 'root.tar';

export const TAR: Format = {
  name: 'tar',
  summary: 'the root filesystem as a tar archive',
  files: [FILE],
  build: ({ rootParts, loaders: { target } }) => ({
    name: 'tar',
    target,
    recipe: [import.meta.url, ...rootParts.map(({ recipe }) => recipe)],
    inputs: Object.fromEntries(rootParts.map((part) => [part.name, part.artifact.step])),
    async build(context) {
      const tree = await rootTree(rootParts, ({ name, artifact }) => inputPath(context, name, artifact));
      await writeTar(tree, join(context.dir, FILE));
    },
  }),
};
