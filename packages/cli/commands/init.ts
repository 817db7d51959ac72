/** nodeos init: writes a first configuration into a folder. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, UsageError } from '@nodeos/base';
import type { Command, Unlisted } from '../command.js';
import { findConfigFiles } from '../config/file.js';
import { firstConfig } from '../config/template.js';

export const initCommand: Unlisted<Command> = {
  operands: '[DIR]',
  options: { js: { type: 'boolean', help: 'nodeos.config.js instead' } },
  examples: [
    ['nodeos init', 'in this folder'],
    ['nodeos init my-appliance --js', 'in JavaScript'],
  ],
  async run(args, io) {
    const [dir = '.', ...more] = args.operands;
    if (more.length > 0) throw new UsageError(`nodeos init takes one folder, not also ${more.join(' ')}`);
    const [existing] = await findConfigFiles(dir);
    if (existing !== undefined) throw new UsageError(`${dir} has a configuration: ${existing} is left as it is`);
    const path = join(dir, args.flag('js') ? 'nodeos.config.js' : 'nodeos.config.ts');
    await mkdir(dir, { recursive: true });
    try {
      await writeFile(path, await firstConfig(dir), { flag: 'wx' });
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
      throw new UsageError(`${path} is there already, and is left as it is`);
    }
    io.stdout.write(`${path}\n`);
    return 0;
  },
};
