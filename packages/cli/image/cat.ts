/** nodeos image cat: the content of a file. */
import { NodeosError } from '@nodeos/base';
import type { Command } from '../command.js';
import { operandsOf } from '../nbd/options.js';
import { sinkOf } from '../output.js';
import { entriesBelow, withImage } from './open.js';

export const catCommand: Command = {
  name: 'image cat',
  summary: 'Writes the content of a file to standard output.',
  operands: 'SOURCE PATH',
  options: {},
  examples: [['nodeos image cat usr.erofs bin/node > node', 'a program out of a filesystem']],
  async run(args, io) {
    const [source = '', path = ''] = operandsOf('image cat', args, 'SOURCE', 'PATH');
    const write = sinkOf(io.stdout, io.signal);
    await withImage(source, io, async (image) => {
      for await (const entry of entriesBelow(image, path, io)) {
        if (entry.type !== 'file') throw new NodeosError(`${entry.path} is no file, but a ${entry.type}`);
        for await (const bytes of entry.open?.() ?? []) {
          io.signal.throwIfAborted();
          await write(Buffer.from(bytes));
        }
        return;
      }
    });
    return 0;
  },
};
