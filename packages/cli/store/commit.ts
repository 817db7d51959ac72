/** nodeos store commit: an image and the changes over it become a new image. */
import { NodeosError, messageOf, UsageError } from '@nodeos/base';
import { commit, findImage, openImage, openWritableStore, parseReference, type Committed } from '@nodeos/store';
import type { Command } from '../command.js';
import { JSON_PROGRESS } from '../json-options.js';
import { operandsOf } from '../nbd/options.js';
import { meterFor } from '../nbd/progress.js';
import { KEY_OPTION, keysOf } from './options.js';
import { report } from './push.js';

export const commitCommand: Command = {
  name: 'store commit',
  summary: 'Makes a new image of another one and of the changes in an overlay. Only what changed is stored.',
  operands: 'STORE:NAME OVERLAY NEW-NAME',
  options: { key: KEY_OPTION, json: JSON_PROGRESS },
  examples: [
    ['nodeos store serve /srv/store:debian-12 --overlay changes', 'a machine writes to it; then'],
    ['nodeos store commit /srv/store:debian-12 changes debian-12-tuned', 'the file of changes stays as it is'],
  ],
  async run(args, io) {
    const [text = '', path = '', name = ''] = operandsOf('store commit', args, 'STORE:NAME', 'OVERLAY', 'NEW-NAME');
    const reference = parseReference(text);
    const target = parseReference(`${reference.store}:${name}`);
    if (target.name === reference.name)
      throw new UsageError(`nodeos store commit: the new image needs a name of its own`, {
        hint: 'the overlay belongs to the old one, which must stay',
      });
    const keys = await keysOf(args, io);
    const store = openWritableStore(reference.store);
    const meter = meterFor('committed', args, io);
    try {
      const image = await findImage(store, reference.name, keys?.tenant);
      const device = await openImage(image, store.chunks);
      const options = {
        keys,
        signal: io.signal,
        progress: (done: number, size: number) => meter.update(done, size),
      };
      const done = await commit({ image, device, path }, store, target.name, options).catch(
        (error: unknown): Promise<Committed> => {
          io.signal.throwIfAborted();
          throw error instanceof NodeosError
            ? error
            : new NodeosError(`cannot commit ${path}: ${messageOf(error)}`, { cause: error });
        },
      );
      meter.close();
      report(`${reference.store}:${target.name}`, done, args, io);
      return 0;
    } finally {
      meter.close();
      await store.close();
    }
  },
};
