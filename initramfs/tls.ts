/**
 * The files that an initramfs needs for a root over TLS, appended as one more archive: the handshake program, and
 * certificates or keys. They are secrets of one machine. So no step builds them and they never enter the cache.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, NodeosError, replaceFile } from '@nodeos/base';
import { entryPath, PATHS } from '@nodeos/contract';
import { directory, file, type Entry } from '@nodeos/tree';
import { appendEntries } from './append.js';

/** The file names of libnbd, which `tls-certificates=` and `tls-psk-file=` in an NBD URI refer to. */
export const TLS_FILES = ['ca-cert.pem', 'client-cert.pem', 'client-key.pem', 'keys.psk'] as const;
export type TlsFiles = Partial<Record<(typeof TLS_FILES)[number], Uint8Array>>;

/**
 * Reads the TLS files that exist in a folder. @throws NodeosError if there is none; the error of a file that cannot be
 * read
 */
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

/** @param program the path of the handshake program, built by the step `tlsHandshake` of @nodeos/init */
export async function tlsEntries(program: string, files: TlsFiles): Promise<Entry[]> {
  return [
    directory(entryPath(PATHS.tls), 0o700),
    file(entryPath(PATHS.tlsHandshake), await readFile(program), 0o700),
    ...Object.entries(files).map(([name, bytes]) => file(entryPath(`${PATHS.tls}/${name}`), Buffer.from(bytes), 0o600)),
  ];
}

/**
 * Writes an initramfs for a streamed root, with the TLS files, to `path`. It replaces an existing file. Only the owner
 * can read the new file.
 */
export async function writeTlsInitramfs(
  initramfs: string,
  program: string,
  files: TlsFiles,
  path: string,
): Promise<void> {
  const entries = await tlsEntries(program, files);
  await replaceFile(path, (temporary) => appendEntries(initramfs, entries, temporary));
}
