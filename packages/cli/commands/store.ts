/** nodeos store: disk images as chunks. Each action has its own file in store/. */
import type { Group, Unlisted } from '../command.js';
import { commitCommand } from '../store/commit.js';
import { diffCommand } from '../store/diff.js';
import { gcCommand } from '../store/gc.js';
import { keyCommand, rekeyCommand } from '../store/keys.js';
import { lsCommand } from '../store/ls.js';
import { mountCommand } from '../store/mount.js';
import { pullCommand } from '../store/pull.js';
import { pushCommand } from '../store/push.js';
import { removeCommand } from '../store/remove.js';
import { serveCommand } from '../store/serve.js';
import { topCommand } from '../store/top.js';
import { verifyCommand } from '../store/verify.js';

export const storeCommands: Unlisted<Group> = {
  actions: [
    pushCommand,
    serveCommand,
    mountCommand,
    pullCommand,
    lsCommand,
    diffCommand,
    verifyCommand,
    commitCommand,
    keyCommand,
    rekeyCommand,
    removeCommand,
    gcCommand,
    topCommand,
  ],
};
