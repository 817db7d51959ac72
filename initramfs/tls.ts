/**
 * What an initramfs needs to reach a root by TLS, as a further archive behind it: the program that begins a connection,
 * and certificates or keys. They are secrets of one machine, so they are no step, and never in the cache.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, NodeosError, replaceFile } from '@nodeos/base';
import { entryPath, PATHS } from '@nodeos/contract';
import { directory, file, type Entry } from '@nodeos/tree';
import { appendEntries } from './append.js';

/** Names as libnbd's, `tls-certificates=` and `tls-psk-file=` of an NBD URI. */
export const TLS_FILES = ['ca-cert.pem', 'client-cert.pem', 'client-key.pem', 'keys.psk'] as const;
export type TlsFiles = Partial<Record<(typeof TLS_FILES)[number], Uint8Array>>;

/** Reads those that are in a folder. @throws NodeosError if none is, or one cannot be read */
export async function readTlsFiles(folder: string): Promise<TlsFiles> {
  const found: TlsFiles = {};
  for (const name of TLS_FILES) {
    const bytes = await readFile(join(folder, name)).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (bytes) found[name] = bytes;
  }
  if (Object.keys(found).length > 0) return found;
  throw new NodeosError(`${folder} has no certificates and no keys`, {
    hint: `expected some of ${TLS_FILES.join(', ')}`,
  });
}

/** @param program the path of what begins a connection: from the step `tlsHandshake` of @nodeos/init */
export async function tlsEntries(program: string, files: TlsFiles): Promise<Entry[]> {
  return [
    directory(entryPath(PATHS.tls), 0o700),
    file(entryPath(PATHS.tlsHandshake), await readFile(program), 0o700),
    ...Object.entries(files).map(([name, bytes]) => file(entryPath(`${PATHS.tls}/${name}`), Buffer.from(bytes), 0o600)),
  ];
}

/**
 * Writes an initramfs for a streamed root with what it needs for TLS, in the place of what is at `path`; only its owner can
 * read it.
 */
export async function writeTlsInitramfs(
  initramfs: string,
  program: string,
  files: TlsFiles,
  path: string,
): Promise<void> {
  const entries = await tlsEntries(program, files);
  await replaceFile(path, (made) => appendEntries(initramfs, entries, made));
}
