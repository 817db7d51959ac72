/** nodeos clean: removes all built outputs; with --all, also everything that was fetched. */
import { rm } from 'node:fs/promises';
import { Cache, clean } from '@nodeos/engine';
import type { Command, Unlisted } from '../command.js';
import { reportSkipped } from '../cache/common.js';
import { compiledFolder } from '../host/compiled.js';

export const cleanCommand: Unlisted<Command> = {
  operands: '',
  options: {
    all: { type: 'boolean', help: 'also fetched sources, package lists, locks and notes' },
  },
  examples: [
    ['nodeos clean', 'the next build starts from the sources'],
    ['nodeos clean --all', 'the next build starts from the network'],
  ],
  async run(args, io) {
    const cache = new Cache();
    const all = args.flag('all');
    reportSkipped(io, await clean(cache, { all }));
    // Node.js adds to this folder when it ends, but does not make it again.
    await rm(compiledFolder(), { recursive: true, force: true });
    io.stdout.write(`removed what was built${all ? ', and what was fetched,' : ''} from ${cache.root}\n`);
    return 0;
  },
};
