/** nodeos oci ls: the files of an image, all layers merged. */
import { UsageError } from '@nodeos/base';
import type { Command } from '../command.js';
import { jsonLineForEach } from '../json-options.js';
import { entryLine } from '../image/ls.js';
import { entriesBelow } from '../image/open.js';
import { sinkOf } from '../output.js';
import { metered, withImage } from './open.js';
import { IMAGE_OPTIONS } from './options.js';

export const lsCommand: Command = {
  name: 'oci ls',
  summary: 'Lists the files of an image, all layers merged.',
  operands: 'IMAGE [PATH]',
  options: { ...IMAGE_OPTIONS, json: jsonLineForEach('file') },
  examples: [
    ['nodeos oci ls docker://debian:12 etc', 'a folder; the layers stay in the cache'],
    ['nodeos oci ls docker-archive:app.tar', 'what docker save wrote'],
  ],
  async run(args, io) {
    const [name, path = '', ...more] = args.operands;
    if (name === undefined || more.length > 0) throw new UsageError('nodeos oci ls IMAGE [PATH]');
    const write = sinkOf(io.stdout, io.signal);
    await withImage(name, args, io, async (image) => {
      // Lines of JSON are files here, not progress.
      const quiet = { ...args, flag: () => false };
      const tree = await metered('fetched', image.size, quiet, io, (progress) => image.tree(progress));
      try {
        for await (const entry of entriesBelow(tree, path, io)) await write(entryLine(entry, args.flag('json')));
      } finally {
        await tree.close();
      }
    });
    return 0;
  },
};
