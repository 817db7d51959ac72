/** nodeos build: builds layers, and says why. */
import { resolve } from 'node:path';
import { Cache, DEFAULT_TARGET, exportOutput, planOf, targetOf, UsageError } from '@nodeos/build';
import { buildSteps, BUILD_OPTIONS } from '../building.js';
import type { Command } from '../command.js';
import { libraryOf, systemOf, type LayerName } from '../system.js';

export const buildCommand: Command = {
  name: 'build',
  summary: 'Builds the layers of a system (default: all that a boot needs).',
  operands: '[LAYER…]',
  options: {
    ...BUILD_OPTIONS,
    app: { type: 'string', short: 'a', value: 'DIR', help: 'put the application of that folder into the initramfs' },
    out: { type: 'string', short: 'o', value: 'DIR', help: 'copy the results there' },
    explain: { type: 'boolean', help: 'only say what would be built, and why' },
  },
  examples: [
    ['nodeos build', 'everything that `nodeos start` needs'],
    ['nodeos build kernel --explain', 'why the kernel would be built again'],
    [
      'nodeos build --app examples/hello --out out',
      'what boots elsewhere: kernel and initramfs; or kernel, initramfs-base and usr.erofs',
    ],
  ],
  async run(args, io) {
    const target = targetOf(args.text('target') ?? DEFAULT_TARGET);
    const app = args.text('app');
    const layers = await systemOf(target, {
      ...libraryOf(args),
      fragments: args.texts('fragment').map((dir) => resolve(dir)),
      ...(app === undefined ? {} : { app }),
    });
    const names = args.operands.length > 0 ? args.operands : ['kernel', 'initramfs', 'initramfs-base', 'usr'];
    const chosen = names.map((name) => {
      const layer = Object.hasOwn(layers, name) ? layers[name as LayerName] : undefined;
      if (layer) return layer;
      throw new UsageError(`unknown layer "${name}"`, { hint: `the layers are: ${Object.keys(layers).join(', ')}` });
    });
    const steps = chosen.map(({ step }) => step);
    if (args.flag('explain')) {
      const plan = await planOf(new Cache(), steps);
      for (const { step, key, state, reasons } of plan) {
        const entry = { step: step.name, target: step.target.name, key, state, reasons };
        const text = `${step.name}: ${state === 'cached' ? 'in the cache' : `to be built\n${reasons.map((r) => `  - ${r}`).join('\n')}`}`;
        io.stdout.write((args.flag('json') ? JSON.stringify(entry) : text) + '\n');
      }
      return 0;
    }
    const started = performance.now();
    const built = await buildSteps(steps, args, io);
    const out = args.text('out');
    for (const [index, result] of built.entries()) {
      const paths = out === undefined ? [] : await exportOutput(result, chosen[index]?.files ?? [], resolve(out));
      const report = {
        event: 'result',
        step: result.step.name,
        key: result.key,
        cached: result.cached,
        output: result.output,
        files: paths,
      };
      const text = [`${result.step.name}: ${result.output}`, ...paths.map((path) => `  ${path}`)].join('\n');
      io.stdout.write((args.flag('json') ? JSON.stringify(report) : text) + '\n');
    }
    if (!args.flag('json') && built.every(({ cached }) => cached)) {
      io.stderr.write(`nothing to do (${((performance.now() - started) / 1000).toFixed(2)} s)\n`);
    }
    return 0;
  },
};
