/** nodeos store rm: takes the names of images away. */
import { NodeosError, UsageError } from '@nodeos/base';
import { openWritableStore, parseReference } from '@nodeos/store';
import type { Command } from '../command.js';

export const removeCommand: Command = {
  name: 'store rm',
  summary: 'Removes images by name. Their chunks stay until nodeos store gc.',
  operands: 'STORE:NAME…',
  options: {},
  examples: [
    ['nodeos store rm /srv/store:debian-11', 'its chunks are deleted by collections, a grace period later'],
    ['nodeos store rm oci://registry.example/disks:debian-11', 'the tag stays for as long, and stands for nothing'],
  ],
  async run(args) {
    if (args.operands.length === 0) throw new UsageError('nodeos store rm: STORE:NAME is missing');
    for (const { store: place, name } of args.operands.map(parseReference)) {
      const store = openWritableStore(place);
      try {
        if (!(await store.recipe(name))) throw new NodeosError(`${store.name} has no image "${name}"`);
        await store.remove(name);
      } finally {
        await store.close();
      }
    }
    return 0;
  },
};
