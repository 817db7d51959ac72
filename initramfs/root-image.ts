/** The root filesystem as an image, for machines whose root comes over the network from any server (docs/stream.md). */
import { join } from 'node:path';
import type { Step, Target } from '@nodeos/build';
import { writeErofs } from '@nodeos/fs';
import { rootTree, type InitramfsParts } from './build.js';

/** The file's name in the step's output. */
export const ROOT = 'root.erofs';

export function rootImage(target: Target, parts: InitramfsParts): Step {
  const { init, runtime, app, modules, natives = [] } = parts;
  const named = { init, runtime, app, modules, ...Object.fromEntries(natives.map((step) => [step.name, step])) };
  const inputs = Object.fromEntries(Object.entries(named).flatMap(([name, step]) => (step ? [[name, step]] : [])));
  return {
    name: 'root',
    target,
    recipe: import.meta.url,
    inputs,
    async build(context) {
      const output = (name: string): string | undefined => (inputs[name] ? context.input(name) : undefined);
      const tree = await rootTree({
        init: context.input('init'),
        runtime: output('runtime'),
        app: output('app'),
        modules: output('modules'),
        natives: natives.map(({ name }) => context.input(name)),
      });
      await writeErofs(tree, join(context.dir, ROOT), { tails: true });
    },
  };
}
