/** nodeos cache prune: removes old outputs. */
import { formatSize, visibleJson } from '@nodeos/base';
import { Cache, prune } from '@nodeos/engine';
import type { Command } from '../command.js';
import { checkNoOperands, JSON_OPTION, paddedSize, reportSkipped } from './common.js';

export const pruneCommand: Command = {
  name: 'cache prune',
  summary: 'Removes all but the last used outputs of each step.',
  operands: '',
  options: {
    keep: { type: 'string', value: 'N', help: 'outputs of each step to keep, the last used ones (default 1)' },
    sources: { type: 'boolean', help: 'also fetched sources, which the next build fetches again' },
    'dry-run': { type: 'boolean', short: 'n', help: 'only say what would go' },
    json: JSON_OPTION,
  },
  examples: [['nodeos cache prune --keep 2 --dry-run', 'what could go if two of each were kept']],
  async run(args, io) {
    checkNoOperands('cache prune', args);
    const dryRun = args.flag('dry-run');
    const { removed, skipped } = await prune(new Cache(), {
      keepPerStep: args.number('keep', 0) ?? 1,
      sources: args.flag('sources'),
      dryRun,
    });
    reportSkipped(io, skipped); // before a pager shows the list
    for (const item of removed)
      io.stdout.write(args.flag('json') ? visibleJson(item) + '\n' : `${paddedSize(item.bytes)}  ${item.path}\n`);
    const total = removed.reduce((sum, { bytes }) => sum + bytes, 0);
    if (!args.flag('json')) io.stdout.write(`${dryRun ? 'would free' : 'freed'} ${formatSize(total)}\n`);
    return 0;
  },
};
