/** nodeos nbd: disks over the network and tools for disks. Each action has its own file in nbd/. */
import type { Group, Unlisted } from '../command.js';
import { attachCommand } from '../nbd/attach.js';
import { copyCommand } from '../nbd/copy.js';
import { detachCommand } from '../nbd/detach.js';
import { infoCommand } from '../nbd/info.js';
import { listCommand } from '../nbd/list.js';
import { mapCommand } from '../nbd/map.js';
import { plotCommand } from '../nbd/plot.js';
import { serveCommand } from '../nbd/serve.js';

export const nbdCommands: Unlisted<Group> = {
  actions: [serveCommand, infoCommand, listCommand, mapCommand, copyCommand, attachCommand, detachCommand, plotCommand],
};
