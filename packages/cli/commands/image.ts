/** nodeos image: what is in an image: its partitions, its filesystem, its files. Each action has its own file in image/. */
import type { Group, Unlisted } from '../command.js';
import { catCommand } from '../image/cat.js';
import { extractCommand } from '../image/extract.js';
import { infoCommand } from '../image/info.js';
import { lsCommand } from '../image/ls.js';

export const imageCommands: Unlisted<Group> = {
  actions: [infoCommand, lsCommand, catCommand, extractCommand],
};
