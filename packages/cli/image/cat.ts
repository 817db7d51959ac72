/** nodeos image cat: the content of a file. */
import { NodeosError } from '@nodeos/base';
import type { Command, Io } from '../command.js';
import { sinkOf } from '../output.js';
import { oneLocation, type Location } from './location.js';
import { entriesBelow, withFiles } from './open.js';

export const catCommand: Command = {
  name: 'image cat',
  summary: 'Writes the content of a file to standard output.',
  operands: 'IMAGE[:PARTITION][/PATH]',
  options: {},
  examples: [
    ['nodeos image cat sdcard.img:1/config.json', 'a file of the first partition'],
    ['nodeos image cat usr.erofs/bin/node > node', 'a program out of a filesystem'],
  ],
  async run(args, io) {
    await catFile(await oneLocation('image cat', args.operands), io);
    return 0;
  },
};

/** @throws NodeosError if there is no such file */
export async function catFile(location: Location, io: Io): Promise<void> {
  const write = sinkOf(io.stdout, io.signal);
  await withFiles(location, io, async (files) => {
    for await (const entry of entriesBelow(files, location.path, io)) {
      if (entry.type !== 'file') throw new NodeosError(`${entry.path} is no file, but a ${entry.type}`);
      for await (const bytes of entry.open?.() ?? []) {
        io.signal.throwIfAborted();
        await write(Buffer.from(bytes));
      }
      return;
    }
  });
}
