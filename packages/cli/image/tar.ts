/** nodeos image tar: an archive of a filesystem. */
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { replaceFile, UsageError } from '@nodeos/base';
import { tarStream } from '@nodeos/tree';
import type { Command } from '../command.js';
import { jsonObjectOf } from '../json-options.js';
import { counter } from './counter.js';
import { locationOf } from './location.js';
import { withFiles } from './open.js';
import { renamed } from './renamed.js';

export const tarCommand: Command = {
  name: 'image tar',
  summary: 'Writes the files of an image as a tar archive. The same files give the same bytes.',
  operands: 'IMAGE[:PARTITION][/PATH] [FILE]',
  options: { json: jsonObjectOf('what is in FILE') },
  examples: [
    ['nodeos image tar root.ext4/etc etc.tar', 'a folder, whose name is not in it'],
    ['nodeos image tar sdcard.img:2 | zstd > root.tar.zst', 'a partition, to standard output'],
  ],
  async run(args, io) {
    const [image, file = '-', ...more] = args.operands;
    if (image === undefined || more.length > 0)
      throw new UsageError('nodeos image tar IMAGE[:PARTITION][/PATH] [FILE]', { hint: 'see nodeos image tar --help' });
    const location = await locationOf(image);
    if (file === '-' && io.stdout.isTTY)
      throw new UsageError('standard output is a terminal', { hint: 'nodeos image tar IMAGE FILE' });
    if (file === '-' && args.flag('json')) throw new UsageError('--json: the archive is written there');
    const count = counter('archived', io);
    try {
      await withFiles(location, io, async (files) => {
        const tree = each(renamed(files, location.path, '', io), count.onEntry);
        const archive = each<Uint8Array>(tarStream(tree), ({ length }) => count.onBytes(length));
        if (file !== '-')
          return replaceFile(file, (path) => pipeline(archive, createWriteStream(path), { signal: io.signal }));
        for await (const bytes of archive)
          if (!io.stdout.write(bytes)) await once(io.stdout, 'drain', { signal: io.signal });
      });
    } finally {
      count.close();
    }
    const { files, bytes } = count;
    if (args.flag('json')) io.stdout.write(`${JSON.stringify({ event: 'done', file, files, bytes })}\n`);
    return 0;
  },
};

/** What comes by, after it was shown to a listener. */
async function* each<T>(all: AsyncIterable<T>, listener: (one: T) => void): AsyncGenerator<T> {
  for await (const one of all) {
    listener(one);
    yield one;
  }
}
