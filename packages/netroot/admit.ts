/** Credentials for one run of one machine, and the initramfs that carries them. */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '@nodeos/base';
import { appendEntries, secretEntries, tlsEntries } from '@nodeos/initramfs';
import { GUEST } from './serve.js';

/** The credentials that admit one machine for one run. */
export interface SecretInitramfs {
  readonly secret: string;
  readonly key: Uint8Array | undefined;
  /** The initramfs that contains the credentials. */
  readonly initramfs: string;
  readonly remove: () => Promise<void>;
}

/** @param handshake the path of the TLS handshake program; undefined: no TLS, all data is sent in the clear */
export async function createSecretInitramfs(
  initramfs: string,
  handshake: string | undefined,
): Promise<SecretInitramfs> {
  const folder = await temporaryFolder('key');
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const secret = randomBytes(16).toString('hex');
    const key = handshake === undefined ? undefined : randomBytes(32);
    const keys = key && Buffer.from(`${GUEST}:${key.toString('hex')}\n`);
    const tls = handshake === undefined || !keys ? [] : await tlsEntries(handshake, { 'keys.psk': keys });
    const path = join(folder, 'initramfs');
    await appendEntries(initramfs, [...secretEntries(secret), ...tls], path);
    return { secret, key, initramfs: path, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
