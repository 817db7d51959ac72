/** nodeos image: what is in an image: its partitions, its filesystem, its files. Each action has its own file in image/. */
import type { Group, Unlisted } from '../command.js';
import { catCommand } from '../image/cat.js';
import { cpCommand } from '../image/cp.js';
import { editCommand } from '../image/edit.js';
import { extractCommand } from '../image/extract.js';
import { fsckCommand } from '../image/fsck.js';
import { infoCommand } from '../image/info.js';
import { lsCommand } from '../image/ls.js';
import { mkfsCommand } from '../image/mkfs.js';
import { resizeCommand } from '../image/resize.js';
import { rmCommand } from '../image/rm.js';
import { shellCommand } from '../image/shell.js';
import { tarCommand } from '../image/tar.js';

export const imageCommands: Unlisted<Group> = {
  actions: [
    infoCommand,
    lsCommand,
    catCommand,
    cpCommand,
    rmCommand,
    editCommand,
    shellCommand,
    tarCommand,
    extractCommand,
    mkfsCommand,
    fsckCommand,
    resizeCommand,
  ],
};
