/** nodeos cache ls: what is in the cache. */
import { formatSize, visibleJson } from '@nodeos/base';
import { Cache, usageOf } from '@nodeos/engine';
import type { Command } from '../command.js';
import { JSON_OPTION } from '../json-options.js';
import { checkNoOperands, paddedSize } from './common.js';

export const lsCommand: Command = {
  name: 'cache ls',
  summary: 'Lists the built outputs, the last used first.',
  operands: '',
  options: { json: JSON_OPTION },
  examples: [['nodeos cache ls', 'what is in it, the last used first']],
  async run(args, io) {
    checkNoOperands('cache ls', args);
    const cache = new Cache();
    const list = await usageOf(cache);
    if (args.flag('json')) {
      for (const { entry, bytes, used } of list) io.stdout.write(visibleJson({ ...entry, bytes, used }) + '\n');
      return 0;
    }
    for (const { entry, bytes, used } of list) {
      const lastUsed = used.toISOString().replace('T', ' ').slice(0, 16);
      io.stdout.write(
        `${entry.key.slice(0, 12)}  ${paddedSize(bytes)}  ${lastUsed}  ${entry.name} (${entry.target})\n`,
      );
    }
    const total = list.reduce((sum, { bytes }) => sum + bytes, 0);
    io.stdout.write(`${list.length} outputs, ${formatSize(total)}, in ${cache.root}\n`);
    return 0;
  },
};
