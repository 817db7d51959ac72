/** nodeos image: what is in an image: its partitions, its filesystem, its files. Each action has its own file in image/. */
import type { Group } from '../command.js';
import { catCommand } from '../image/cat.js';
import { extractCommand } from '../image/extract.js';
import { infoCommand } from '../image/info.js';
import { lsCommand } from '../image/ls.js';

export const imageCommands: Group = {
  name: 'image',
  summary: 'Shows and unpacks what is in disks and filesystems: GPT, MBR, FAT, ISO 9660, EROFS.',
  actions: [infoCommand, lsCommand, catCommand, extractCommand],
};
