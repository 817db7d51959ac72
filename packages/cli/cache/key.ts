/** nodeos cache key: makes a key that signs what is pushed. */
import { open, readFile } from 'node:fs/promises';
import { codeOf, messageOf, NodeosError, UsageError } from '@nodeos/base';
import { makeKeyPair, nameOf, signingKey } from '@nodeos/engine';
import { printMessage, type Command, type Io } from '../command.js';

export const keyCommand: Command = {
  name: 'cache key',
  summary: 'Makes a private key in FILE, or reads it, and prints the public key that others trust.',
  operands: 'FILE',
  options: {},
  examples: [
    ['nodeos cache key release.pem', 'ed25519:…, for --trust and NODEOS_TRUSTED_KEYS'],
    ['NODEOS_TRUSTED_KEYS=$(nodeos cache key release.pem) nodeos start', 'trusts it'],
  ],
  async run(args, io) {
    const [file, ...more] = args.operands;
    if (file === undefined || more.length > 0) throw new UsageError('nodeos cache key FILE');
    io.stdout.write(`${(await made(file, io)) ?? nameOf(signingKey(await readFile(file)))}\n`);
    return 0;
  },
};

/** @returns the public key; undefined if the file is there already */
async function made(file: string, io: Io): Promise<string | undefined> {
  const { privateKey, publicKey } = makeKeyPair();
  try {
    const handle = await open(file, 'wx', 0o600);
    await handle.writeFile(privateKey).finally(() => handle.close());
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return undefined;
    throw new NodeosError(`cannot make the key ${file}: ${messageOf(error)}`, { cause: error });
  }
  printMessage(io, `made ${file}: keep it secret, whoever has it can sign`);
  return publicKey;
}
