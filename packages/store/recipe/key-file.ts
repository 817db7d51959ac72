/**
 * A key file: two lines of text, `tenant BASE64` and `salt BASE64`, 32 bytes each. Who only reads images needs the
 * tenant's key. The salt is the same for all tenants of a trust domain, whose equal chunks are stored once; it is needed
 * to push, and knowing it lets one ask whether a store has a given chunk.
 */
import { randomBytes } from 'node:crypto';
import { open, stat, readFile } from 'node:fs/promises';
import { codeOf, messageOf, NodeosError } from '@nodeos/base';
import { KEY_LENGTH } from '../chunk/seal.js';

export interface Keys {
  readonly tenant: Buffer;
  readonly salt?: Buffer;
}

const MAX_FILE = 4096;

/** @throws NodeosError if the file cannot be read, is no key file, or can be read by others than its owner */
export async function readKeys(path: string): Promise<Keys> {
  let text: string;
  try {
    const { mode, size } = await stat(path);
    if ((mode & 0o077) !== 0)
      throw new NodeosError(`${path}: others than its owner can use this key file`, { hint: `chmod 600 ${path}` });
    text = size > MAX_FILE ? '' : await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof NodeosError) throw error;
    const hint = codeOf(error) === 'ENOENT' ? `nodeos store key ${path} makes one` : undefined;
    throw new NodeosError(`cannot read the key file ${path}: ${messageOf(error)}`, {
      ...(hint === undefined ? {} : { hint }),
      cause: error,
    });
  }
  const lines = new Map(
    text.split('\n').map((line) => {
      const [word = '', value = ''] = line.trim().split(/\s+/, 2);
      return [word, value] as const;
    }),
  );
  const [tenant, salt] = [keyOf(lines.get('tenant')), keyOf(lines.get('salt'))];
  if (tenant) return { tenant, ...(salt && { salt }) };
  throw new NodeosError(`${path}: no key file: it needs a line "tenant" with 32 bytes in Base64`);
}

function keyOf(text: string | undefined): Buffer | undefined {
  const bytes = Buffer.from(text ?? '', 'base64');
  return bytes.length === KEY_LENGTH ? bytes : undefined;
}

/**
 * Makes a key file that only its owner can read. @param salt of an existing trust domain; default: a new domain
 * @throws NodeosError if the file is there already
 */
export async function makeKeys(path: string, salt: Buffer = randomBytes(KEY_LENGTH)): Promise<Keys> {
  const keys = { tenant: randomBytes(KEY_LENGTH), salt };
  try {
    const file = await open(path, 'wx', 0o600);
    await file
      .writeFile(`tenant ${keys.tenant.toString('base64')}\nsalt ${salt.toString('base64')}\n`)
      .then(() => file.sync())
      .finally(() => file.close());
  } catch (error) {
    throw new NodeosError(`cannot make the key file ${path}: ${messageOf(error)}`, {
      ...(codeOf(error) === 'EEXIST' ? { hint: 'an existing key is never overwritten' } : {}),
      cause: error,
    });
  }
  return keys;
}
