/** nodeos image rm: removes files. */
import { codeOf, UsageError } from '@nodeos/base';
import type { MountedFilesystem } from '@nodeos/linuxfs';
import type { Command } from '../command.js';
import { locationOf, notRoot, type Location } from './location.js';
import { withMounted } from './open.js';

export const rmCommand: Command = {
  name: 'image rm',
  summary: 'Removes files of an image.',
  operands: 'IMAGE[:PARTITION][/PATH]…',
  options: {
    recursive: { type: 'boolean', short: 'r', help: 'folders with all that is in them' },
    force: { type: 'boolean', short: 'f', help: 'what is not there is no error' },
  },
  examples: [
    ['nodeos image rm sdcard.img:1/config.json', 'a file of the first partition'],
    ['nodeos image rm -rf root.ext4/var/log root.ext4/var/cache', 'two folders, if they are there'],
  ],
  async run(args, io) {
    const all = await Promise.all(args.operands.map(locationOf));
    const [first] = all;
    if (!first) throw new UsageError('nodeos image rm IMAGE/PATH…: there is nothing to remove');
    all.forEach(notRoot);
    const other = all.find(({ source, partition }) => source !== first.source || partition !== first.partition);
    if (other) throw new UsageError(`${other.text} is in another filesystem than ${first.text}: one at a time`);
    const options = { recursive: args.flag('recursive'), force: args.flag('force') };
    await withMounted(first, io, (mounted) => remove(all, mounted, options, io.signal));
    return 0;
  },
};

async function remove(
  all: readonly Location[],
  { promises }: MountedFilesystem,
  options: { readonly recursive: boolean; readonly force: boolean },
  signal: AbortSignal,
): Promise<void> {
  for (const { path, text } of all) {
    signal.throwIfAborted();
    await promises.rm(path, options).catch((error: unknown) => {
      if (codeOf(error) !== 'ERR_FS_EISDIR') throw error;
      throw new UsageError(`${text} is a folder`, { hint: 'with all that is in it: --recursive' });
    });
  }
}
