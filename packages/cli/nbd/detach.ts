/** nodeos nbd detach: detaches a block device that nodeos nbd attach has attached. */
import { NodeosError } from '@nodeos/base';
import { buildingOf } from '../building.js';
import type { Command } from '../command.js';
import { JSON_MESSAGES } from '../json-options.js';
import { attachTool, checkDevice, checkDriver, isAttached } from './kernel-device.js';
import { operandsOf } from './options.js';

export const detachCommand: Command = {
  name: 'nbd detach',
  summary: 'Ends what nodeos nbd attach has begun (Linux; needs root).',
  operands: '/dev/nbdN',
  options: { json: JSON_MESSAGES },
  examples: [['nodeos nbd detach /dev/nbd0', 'unmount it before']],
  async run(args, io) {
    const [device = ''] = operandsOf('nbd detach', args, '/dev/nbdN');
    const path = checkDevice(device);
    await checkDriver();
    if (!(await isAttached(path))) throw new NodeosError(`nothing is attached to ${path}`);
    const detach = await attachTool(buildingOf({ args }), io);
    await detach(['-d', path]);
    return 0;
  },
};
