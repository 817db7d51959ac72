/** nodeos store diff: what two images share. */
import { formatSize, visibleJson } from '@nodeos/base';
import { difference, type Share } from '@nodeos/store';
import type { Command } from '../command.js';
import { JSON_OPTION } from '../json-options.js';
import { operandsOf } from '../nbd/options.js';
import { recipeOf } from './options.js';

export const diffCommand: Command = {
  name: 'store diff',
  summary: 'Says how many stored bytes two images share, and what each has alone. It needs no key.',
  operands: 'STORE:NAME STORE:NAME',
  options: { json: JSON_OPTION },
  examples: [['nodeos store diff /srv/store:app-1 /srv/store:app-2', 'what a machine with app-1 fetches for app-2']],
  async run(args, io) {
    const [first = '', second = ''] = operandsOf('store diff', args, 'STORE:NAME', 'STORE:NAME');
    const found = difference(await recipeOf(first), await recipeOf(second));
    if (args.flag('json')) {
      io.stdout.write(visibleJson(found) + '\n');
      return 0;
    }
    const { shared, onlyFirst, onlySecond } = found;
    const all = shared.bytes + onlySecond.bytes;
    const share = all === 0 ? 100 : (shared.bytes / all) * 100;
    io.stdout.write(
      [
        `shared: ${textOf(shared)}, ${share.toFixed(1)} % of ${second}`,
        `only ${first}: ${textOf(onlyFirst)}`,
        `only ${second}: ${textOf(onlySecond)}`,
        '',
      ].join('\n'),
    );
    return 0;
  },
};

const textOf = ({ chunks, bytes }: Share): string => `${chunks} chunks, ${formatSize(bytes)}`;
