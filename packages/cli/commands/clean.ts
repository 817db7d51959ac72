/** nodeos clean: removes what was built, and with --all what was fetched. */
import { join } from 'node:path';
import { Cache, remove } from '@nodeos/build';
import type { Command } from '../command.js';

export const cleanCommand: Command = {
  name: 'clean',
  summary: 'Removes every built output from the cache; fetched sources stay unless --all is given.',
  operands: '',
  options: {
    all: { type: 'boolean', help: 'also fetched sources and package lists' },
  },
  examples: [
    ['nodeos clean', 'the next build starts from the sources'],
    ['nodeos clean --all', 'the next build starts from the network'],
  ],
  async run(args, io) {
    const cache = new Cache();
    const folders = [
      'steps',
      'tmp',
      'logs',
      ...(args.flag('all') ? ['sources', 'apt', 'locks', 'accelerator.json'] : []),
    ];
    for (const name of folders) await remove(join(cache.root, name));
    io.stdout.write(`removed ${folders.join(', ')} from ${cache.root}\n`);
    return 0;
  },
};
