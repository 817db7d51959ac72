/** nodeos store key, rekey: key files, and which tenants can read an image. */
import { NodeosError, UsageError } from '@nodeos/base';
import { makeKeys, openWritableStore, parseReference, readKeys, rekey, revoke } from '@nodeos/store';
import { printMessage, type Command } from '../command.js';
import { operandsOf } from '../nbd/options.js';
import { KEY_OPTION, keysOf } from './options.js';

export const keyCommand: Command = {
  name: 'store key',
  summary: 'Makes a key file for a tenant. Whoever has it reads and pushes the images of that tenant.',
  operands: 'FILE',
  options: {
    domain: {
      type: 'string',
      value: 'FILE',
      help: 'a key file whose trust domain the new one joins: equal chunks are stored once',
    },
  },
  examples: [
    ['nodeos store key tenant.key', 'a tenant of a trust domain of its own'],
    ['nodeos store key second.key --domain tenant.key', 'another tenant, who shares chunks with the first'],
  ],
  async run(args, io) {
    const [path = ''] = operandsOf('store key', args, 'FILE');
    const domain = args.text('domain');
    const salt = domain === undefined ? undefined : (await readKeys(domain)).salt;
    if (domain !== undefined && !salt) throw new NodeosError(`--domain ${domain}: it has no salt`);
    await makeKeys(path, salt);
    printMessage(io, `${path}: keep it safe: without it, what is pushed with it cannot be read`);
    return 0;
  },
};

export const rekeyCommand: Command = {
  name: 'store rekey',
  summary: 'Lets another tenant read an image, or takes that away. No chunk changes.',
  operands: 'STORE:NAME',
  options: {
    key: KEY_OPTION,
    to: { type: 'string', value: 'FILE', help: 'the key file of the tenant who is to read it' },
    revoke: { type: 'boolean', help: 'take the table of --key away; who has copied it before still has the keys' },
  },
  examples: [
    ['nodeos store rekey /srv/store:debian-12 --key tenant.key --to second.key', 'both can read it'],
    ['nodeos store rekey /srv/store:debian-12 --key tenant.key --to new.key --revoke', 'only the new key can'],
  ],
  async run(args, io) {
    const [text = ''] = operandsOf('store rekey', args, 'STORE:NAME');
    const { store: place, name } = parseReference(text);
    const [from, target] = [await keysOf(args, io), args.text('to')];
    if (!from) throw new UsageError('nodeos store rekey: --key is missing');
    if (target === undefined && !args.flag('revoke'))
      throw new UsageError('nodeos store rekey: neither --to nor --revoke: nothing would change');
    const to = target === undefined ? undefined : await readKeys(target);
    const store = openWritableStore(place);
    try {
      if (to) await rekey(store, name, { from: from.tenant, to: to.tenant });
      if (args.flag('revoke')) await revoke(store, name, from.tenant);
      return 0;
    } finally {
      await store.close();
    }
  },
};
