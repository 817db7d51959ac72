/** nodeos store pull: an image of a store as a file, or all that a store has of it copied into another store. */
import { copy } from '@nodeos/block';
import { formatSize, NodeosError, messageOf, visibleJson } from '@nodeos/base';
import { openDestination } from '@nodeos/disk';
import { openReference } from '@nodeos/store';
import { printMessage, type Command } from '../command.js';
import { JSON_PROGRESS } from '../json-options.js';
import { operandsOf } from '../nbd/options.js';
import { meterFor } from '../nbd/progress.js';
import { KEY_OPTION, keysOf } from './options.js';

export const pullCommand: Command = {
  name: 'store pull',
  summary: 'Writes an image of a store to a file, a block device or an NBD export.',
  operands: 'STORE:NAME DESTINATION',
  options: { key: KEY_OPTION, json: JSON_PROGRESS },
  examples: [
    ['nodeos store pull /srv/store:debian-12 disk.img', 'a file, which appears when it is whole'],
    ['nodeos store pull https://cdn.example/store:debian-12 /dev/sdb --key tenant.key', 'onto a disk'],
  ],
  async run(args, io) {
    const [from = '', to = ''] = operandsOf('store pull', args, 'STORE:NAME', 'DESTINATION');
    const keys = await keysOf(args, io);
    const device = await openReference(from, { tenant: keys?.tenant, patience: 10_000 });
    const meter = meterFor('pulled', args, io);
    try {
      const destination = await openDestination(to, device.size, { signal: io.signal });
      try {
        const progress = (done: number, size: number): void => meter.update(done, size);
        const options = { progress, signal: io.signal, targetIsZero: destination.isZero };
        const copied = await copy(device, destination.backend, options).catch((error: unknown) => {
          io.signal.throwIfAborted();
          throw new NodeosError(`cannot pull ${from}: ${messageOf(error)}`, { cause: error });
        });
        await destination.backend.flush?.();
        await destination.finish();
        meter.close();
        if (args.flag('json')) io.stdout.write(visibleJson({ event: 'done', size: device.size, ...copied }) + '\n');
        else printMessage(io, `${to}: ${formatSize(device.size)}, ${formatSize(copied.written)} of them written`);
        return 0;
      } finally {
        await destination.close();
      }
    } finally {
      meter.close();
      await device.close();
    }
  },
};
