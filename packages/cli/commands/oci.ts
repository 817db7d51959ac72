/** nodeos oci: container images. Each action has its own file in oci/. */
import type { Group, Unlisted } from '../command.js';
import { copyCommand } from '../oci/copy.js';
import { imageCommand } from '../oci/image.js';
import { inspectCommand } from '../oci/inspect.js';
import { lsCommand } from '../oci/ls.js';
import { pullCommand } from '../oci/pull.js';

export const ociCommands: Unlisted<Group> = {
  actions: [pullCommand, inspectCommand, lsCommand, copyCommand, imageCommand],
};
