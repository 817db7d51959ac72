/** nodeos cache trust: whose outputs this user takes from remote caches. */
import type { Command } from '../command.js';
import { printMessage } from '../command.js';
import { trustKeys, userKeys, userKeysFile } from '../user-keys.js';

export const trustCommand: Command = {
  name: 'cache trust',
  summary: 'Trusts public keys in every project of this user; without KEY, lists them.',
  operands: '[KEY…]',
  options: {},
  examples: [
    ['nodeos cache trust ed25519:…', 'from now on, what this key has signed is used'],
    ['nodeos cache trust', 'the keys that are trusted, a line each'],
  ],
  async run({ operands }, io) {
    if (operands.length === 0) {
      for (const key of await userKeys(io.env)) io.stdout.write(`${key}\n`);
      return 0;
    }
    const added = await trustKeys(operands, io.env);
    const file = userKeysFile(io.env);
    printMessage(io, added.length === 0 ? `they are in ${file} already` : `added to ${file}: ${added.join(', ')}`);
    return 0;
  },
};
