/** The floor as steps for the engine: the layers of the system with another init. See floor.c. */
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { contractHeader } from '@nodeos/contract';
import type { Target } from '@nodeos/targets';
import { artifact, type Artifact, type Step } from '@nodeos/engine';
import { characterDevice, directory, file, writeCpio } from '@nodeos/tree';

const HERE = dirname(fileURLToPath(new URL('.', import.meta.url)));
const INIT = join(HERE, '../../packages/init');
const UNITS = ['lib/clock.c', 'lib/freestanding.c', 'lib/io.c', 'lib/say.c', 'lib/text.c', 'pid1/mounts.c'];

/** A step with the output of `@nodeos/init`. */
export function floorInit(target: Target): Step {
  return {
    name: 'bench-floor',
    target,
    recipe: import.meta.url,
    files: { floor: join(HERE, 'floor.c'), lib: join(INIT, 'lib'), pid1: join(INIT, 'pid1') },
    tools: ['gcc', 'ld'],
    async build(context) {
      const options = [
        '-O2',
        '-ffreestanding',
        '-nostdlib',
        '-static',
        '-fno-pie',
        '-no-pie',
        '-s',
        '-fno-stack-protector',
      ];
      const sources = [join(HERE, 'floor.c'), ...UNITS.map((unit) => join(INIT, unit))];
      await writeFile(join(context.work, 'contract.h'), contractHeader());
      await context.run('gcc', [
        ...options,
        `-I${context.work}`,
        '-fno-tree-loop-distribute-patterns',
        '-o',
        join(context.dir, 'init'),
        ...sources,
      ]);
      for (const name of ['init.js', 'syscalls.node']) await writeFile(join(context.dir, name), '');
    },
  };
}

/** An initramfs with nothing but that init. */
export function floorInitramfs(target: Target): Artifact<'initramfs'> {
  const step: Step = {
    name: 'bench-floor-initramfs',
    target,
    recipe: import.meta.url,
    inputs: { init: floorInit(target) },
    async build(context) {
      const init = file('init', await readFile(join(context.input('init'), 'init')), 0o755);
      const entries = [
        ...['dev', 'proc', 'sys'].map((path) => directory(path)),
        characterDevice('dev/console', 0o600, [5, 1]),
        init,
      ];
      await writeCpio(entries, join(context.dir, 'initramfs'));
    },
  };
  return artifact(step, 'initramfs', 'initramfs');
}
