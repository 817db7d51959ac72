/** nodeos image extract: unpacks a filesystem into a new folder. */
import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { codeOf, folderBeside, messageOf, NodeosError } from '@nodeos/base';
import { printMessage, type Command } from '../command.js';
import { operandsOf } from '../nbd/options.js';
import { writeToHost } from './host.js';
import { locationOf } from './location.js';
import { withFiles } from './open.js';
import { renamed } from './renamed.js';

export const extractCommand: Command = {
  name: 'image extract',
  summary: 'Unpacks a filesystem into a new folder. Files belong to whoever runs this.',
  operands: 'IMAGE[:PARTITION][/PATH] FOLDER',
  options: {},
  examples: [['nodeos image extract nodeos.img:1 esp', 'the files of the ESP']],
  async run(args, io) {
    const [image = '', folder = ''] = operandsOf('image extract', args, 'IMAGE', 'FOLDER');
    const location = await locationOf(image);
    await checkNew(folder);
    // Whole or not at all: an interrupted command leaves no half of it.
    const to = resolve(folder);
    const temporary = await folderBeside(to);
    try {
      const tree = join(temporary, 'tree');
      await mkdir(tree);
      const left = await withFiles(location, io, (files) =>
        writeToHost(renamed(files, location.path, '', io), tree, io),
      );
      await rmdir(to).catch(() => undefined);
      await rename(tree, to);
      for (const line of left) printMessage(io, line);
      return 0;
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  },
};

/** What is there could be a link out of the folder. @throws NodeosError if the folder is there and not empty */
async function checkNew(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw new NodeosError(`cannot unpack into ${folder}: ${messageOf(error)}`);
  });
  if (names.length > 0) throw new NodeosError(`${folder} is there, and is not empty`, { hint: 'name a new folder' });
}
