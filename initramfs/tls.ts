/**
 * What an initramfs needs to reach a root by TLS, as a further archive behind it: the program that begins a connection,
 * and certificates or keys. They are secrets of one machine, so they are no step, and never in the cache.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { codeOf, NodeosError } from '@nodeos/build';
import { directory, file, writeCpio, type Entry } from '@nodeos/tree';

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

/**
 * Writes the archives one behind the other, into a file that only its owner can read.
 * @param initramfs the path of an initramfs for a streamed root
 * @param program the path of what begins a connection: from the step `tlsHandshake` of @nodeos/init
 */
export async function writeTlsInitramfs(
  initramfs: string,
  program: string,
  files: TlsFiles,
  path: string,
): Promise<void> {
  const work = await mkdtemp(`${path}.`);
  try {
    const [whole, archive] = [join(work, 'whole'), join(work, 'archive')];
    await writeCpio(await tlsEntries(program, files), archive);
    for (const [index, part] of [initramfs, archive].entries())
      await pipeline(createReadStream(part), createWriteStream(whole, { flags: index === 0 ? 'w' : 'a', mode: 0o600 }));
    await rename(whole, path);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function tlsEntries(program: string, files: TlsFiles): Promise<Entry[]> {
  return [
    directory('tls', 0o700),
    file('tls/handshake', await readFile(program), 0o700),
    ...Object.entries(files).map(([name, bytes]) => file(`tls/${name}`, Buffer.from(bytes), 0o600)),
  ];
}
