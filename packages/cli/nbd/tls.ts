/** TLS of a server, from files that have the names which other NBD servers and clients use too. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, NodeosError, UsageError } from '@nodeos/build';
import { parsePskFile, type ServerTls } from '@nodeos/nbd';
import type { Option, Parsed } from '../command.js';

export const TLS_OPTIONS = {
  tls: {
    type: 'string',
    value: 'DIR',
    help: 'only over TLS, with server-cert.pem, server-key.pem, ca-cert.pem of DIR',
  },
  psk: { type: 'string', value: 'FILE', help: 'only over TLS, for those who have a key in FILE (IDENTITY:HEX lines)' },
  'tls-optional': { type: 'boolean', help: 'take connections without TLS too' },
  'tls-verify-client': { type: 'boolean', help: 'clients need a certificate that ca-cert.pem has signed' },
} as const satisfies Record<string, Option>;

export interface Tls {
  readonly server: ServerTls;
  /** What a client on this machine adds to its URI. */
  readonly query: Readonly<Record<string, string>>;
}

/** @throws UsageError, NodeosError naming the file that is missing or wrong */
export async function tlsOf(args: Parsed): Promise<Tls | undefined> {
  const [dir, psk] = [args.text('tls'), args.text('psk')];
  if (dir !== undefined && psk !== undefined) throw new UsageError('--tls and --psk: one of the two');
  const lonely = ['tls-optional', 'tls-verify-client'].find((name) => args.flag(name));
  if (dir === undefined && psk === undefined && lonely)
    throw new UsageError(`--${lonely}: there is no TLS`, { hint: '--tls DIR or --psk FILE' });
  if (args.flag('tls-verify-client') && dir === undefined)
    throw new UsageError('--tls-verify-client: with --psk nobody has a certificate');
  const required = !args.flag('tls-optional');
  if (psk !== undefined) return { server: { required, psk: await keysOf(psk) }, query: { 'tls-psk-file': psk } };
  if (dir === undefined) return undefined;
  const [cert, key, ca] = await Promise.all(
    ['server-cert.pem', 'server-key.pem', 'ca-cert.pem'].map((name) => contentOf(join(dir, name), '--tls')),
  );
  const verifyClient = args.flag('tls-verify-client');
  return {
    server: { required, verifyClient, ...(cert && { cert }), ...(key && { key }), ...(ca && { ca }) },
    query: { 'tls-certificates': dir },
  };
}

async function keysOf(path: string): Promise<NonNullable<ServerTls['psk']>> {
  const text = (await contentOf(path, '--psk')).toString();
  try {
    const keys = parsePskFile(text);
    return { find: (identity) => keys.get(identity) };
  } catch (error) {
    throw new NodeosError(`--psk ${path}: ${messageOf(error)}`, { hint: 'psktool makes such files', cause: error });
  }
}

const contentOf = (path: string, option: string): Promise<Buffer> =>
  readFile(path).catch((error: unknown) => {
    throw new NodeosError(`${option}: cannot read ${path}: ${messageOf(error)}`, { cause: error });
  });
