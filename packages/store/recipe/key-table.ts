/**
 * The keys of a recipe's chunks, for one tenant. It lies beside the public part and is bound to it: a table of another
 * recipe, or a changed recipe, does not open.
 *
 * | offset | what                                                           |
 * | ------ | -------------------------------------------------------------- |
 * | 0      | `NODEOSK\1`; the last byte is the version                      |
 * | 8      | 12 bytes: the nonce                                            |
 * | 20     | AES-256-GCM of the keys, 32 bytes each, in the records' order  |
 * | end    | 16 bytes: the tag                                              |
 *
 * The first 8 bytes and the recipe's id are authenticated too. Two keys are derived from the tenant's (HKDF-SHA256): one
 * encrypts, and one makes the nonce from what is encrypted, so that the same table has the same bytes and a nonce is
 * never used for two texts.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';
import { NodeosError } from '@nodeos/base';
import { KEY_LENGTH } from '../chunk/seal.js';

const MAGIC = Buffer.from('NODEOSK\u0001', 'latin1');
const NONCE = 12;
const TAG = 16;
const START = MAGIC.length + NONCE;

/** @param recipeId in hexadecimal */
export function encodeKeys(keys: readonly Uint8Array[], tenant: Uint8Array, recipeId: string): Buffer {
  const plain = Buffer.concat(keys);
  const bound = Buffer.concat([MAGIC, Buffer.from(recipeId, 'hex')]);
  const nonce = createHmac('sha256', derived(tenant, 'nonce'))
    .update(bound)
    .update(createHash('sha256').update(plain).digest())
    .digest()
    .subarray(0, NONCE);
  const cipher = createCipheriv('aes-256-gcm', derived(tenant, 'table'), nonce);
  cipher.setAAD(bound);
  const encrypted = cipher.update(plain);
  cipher.final();
  return Buffer.concat([MAGIC, nonce, encrypted, cipher.getAuthTag()]);
}

/** Bytes of a table with `count` keys. */
export const keyTableSize = (count: number): number => START + count * KEY_LENGTH + TAG;

/** @throws NodeosError if the table is of another recipe or another tenant, or was changed */
export function decodeKeys(
  bytes: Uint8Array,
  tenant: Uint8Array,
  recipe: { readonly id: string; readonly count: number },
  name: string,
): Buffer[] {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (input.length !== keyTableSize(recipe.count) || !input.subarray(0, MAGIC.length).equals(MAGIC))
    throw new NodeosError(`${name}: this is no table of ${recipe.count} keys`);
  const decipher = createDecipheriv('aes-256-gcm', derived(tenant, 'table'), input.subarray(MAGIC.length, START), {
    authTagLength: TAG,
  });
  decipher.setAAD(Buffer.concat([MAGIC, Buffer.from(recipe.id, 'hex')]));
  decipher.setAuthTag(input.subarray(-TAG));
  const plain = decipher.update(input.subarray(START, -TAG));
  try {
    decipher.final();
  } catch (error) {
    throw new NodeosError(`${name}: the table of keys does not open`, {
      hint: 'the key file belongs to another tenant, or the table or the recipe was changed',
      cause: error,
    });
  }
  return Array.from({ length: recipe.count }, (_, index) =>
    plain.subarray(index * KEY_LENGTH, (index + 1) * KEY_LENGTH),
  );
}

/** Names a tenant in the store without saying anything about its key. */
export const tenantId = (tenant: Uint8Array): string => derived(tenant, 'name').toString('hex').slice(0, 16);

const derived = (tenant: Uint8Array, use: string): Buffer =>
  Buffer.from(hkdfSync('sha256', tenant, '', `nodeos-store ${use}`, KEY_LENGTH));
