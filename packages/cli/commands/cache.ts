/** nodeos cache: looks after the cache, and shares it. Each action has its own file in cache/. */
import type { Group, Unlisted } from '../command.js';
import { keyCommand } from '../cache/key.js';
import { lsCommand } from '../cache/ls.js';
import { pruneCommand } from '../cache/prune.js';
import { pullCommand } from '../cache/pull.js';
import { pushCommand } from '../cache/push.js';
import { trustCommand } from '../cache/trust.js';
import { verifyCommand } from '../cache/verify.js';

export const cacheCommands: Unlisted<Group> = {
  actions: [lsCommand, verifyCommand, pruneCommand, pullCommand, pushCommand, keyCommand, trustCommand],
};
