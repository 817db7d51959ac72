/** nodeos cache prune: removes old outputs. */
import { formatSize, parseSize, visibleJson } from '@nodeos/base';
import { Cache, prune } from '@nodeos/engine';
import type { Command } from '../command.js';
import { JSON_OPTION } from '../json-options.js';
import { checkNoOperands, paddedSize, reportSkipped } from './common.js';

export const pruneCommand: Command = {
  name: 'cache prune',
  summary: 'Removes all but the last used outputs of each step, and container images that were used long ago.',
  operands: '',
  options: {
    keep: { type: 'string', value: 'N', help: 'outputs of each step to keep, the last used ones (default 1)' },
    sources: { type: 'boolean', help: 'also fetched sources, which the next build fetches again' },
    images: { type: 'string', value: 'SIZE', help: 'of container images to keep, the last used ones (default 10G)' },
    'dry-run': { type: 'boolean', short: 'n', help: 'only say what would go' },
    json: JSON_OPTION,
  },
  examples: [['nodeos cache prune --keep 2 --dry-run', 'what could go if two of each were kept']],
  async run(args, io) {
    checkNoOperands('cache prune', args);
    const dryRun = args.flag('dry-run');
    const most = parseSize(args.text('images') ?? '10G', '--images');
    const { removed: outputs, skipped } = await prune(new Cache(), {
      keepPerStep: args.number('keep', 0) ?? 1,
      sources: args.flag('sources'),
      dryRun,
    });
    const { imageCache } = await import('@nodeos/disk/container-image');
    const layers = await imageCache().prune({ most, isDry: dryRun });
    const removed = [...outputs, ...layers];
    reportSkipped(io, skipped); // before a pager shows the list
    for (const item of removed)
      io.stdout.write(args.flag('json') ? visibleJson(item) + '\n' : `${paddedSize(item.bytes)}  ${item.path}\n`);
    const total = removed.reduce((sum, { bytes }) => sum + bytes, 0);
    if (!args.flag('json')) io.stdout.write(`${dryRun ? 'would free' : 'freed'} ${formatSize(total)}\n`);
    return 0;
  },
};
