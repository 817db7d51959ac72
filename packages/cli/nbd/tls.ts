/** TLS settings of a server. The files have the same names as for other NBD servers and clients. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { messageOf, NodeosError, UsageError } from '@nodeos/base';
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
  /** The query that a local client adds to its URI. Paths are absolute, so its working folder does not matter. */
  readonly query: Readonly<Record<string, string>>;
  /** The user name in the client's URI. */
  readonly user?: string;
}

/**
 * Reads the TLS options.
 * @throws UsageError for options that do not fit together
 * @throws NodeosError naming the missing or invalid file
 */
export async function tlsOf(args: Parsed): Promise<Tls | undefined> {
  const [dir, psk] = [args.text('tls'), args.text('psk')];
  if (dir !== undefined && psk !== undefined) throw new UsageError('--tls and --psk: one of the two');
  const tlsOnlyOption = ['tls-optional', 'tls-verify-client'].find((name) => args.flag(name));
  if (dir === undefined && psk === undefined && tlsOnlyOption)
    throw new UsageError(`--${tlsOnlyOption}: there is no TLS`, { hint: '--tls DIR or --psk FILE' });
  if (args.flag('tls-verify-client') && dir === undefined)
    throw new UsageError('--tls-verify-client: with --psk nobody has a certificate');
  const required = !args.flag('tls-optional');
  if (psk !== undefined) return keysOf(psk, required);
  return dir === undefined ? undefined : certificatesOf(dir, required, args.flag('tls-verify-client'));
}

async function certificatesOf(dir: string, required: boolean, verifyClient: boolean): Promise<Tls> {
  // One after the other, so that of several bad files the same one is always named.
  const cert = await readMaterial(dir, 'server-cert.pem', (cert) => createSecureContext({ cert }));
  const key = await readMaterial(dir, 'server-key.pem', (key) => createSecureContext({ key }));
  const ca = await readMaterial(dir, 'ca-cert.pem', (ca) => new X509Certificate(ca));
  check(`--tls ${dir}: server-cert.pem and server-key.pem`, () => createSecureContext({ cert, key }));
  return { server: { required, verifyClient, cert, key, ca }, query: { 'tls-certificates': resolve(dir) } };
}

/**
 * Checks a file at the start. Otherwise the server would notice the error only at the first connection and could not
 * report it.
 */
async function readMaterial(dir: string, name: string, parse: (content: Buffer) => unknown): Promise<Buffer> {
  const path = join(dir, name);
  const content = await contentOf(path, '--tls');
  check(`--tls: ${path}`, () => parse(content));
  return content;
}

function check(subject: string, parse: () => unknown): void {
  try {
    parse();
  } catch (error) {
    throw new NodeosError(`${subject}: ${messageOf(error)}`, {
      hint: 'certtool or openssl make them, as PEM',
      cause: error,
    });
  }
}

async function keysOf(path: string, required: boolean): Promise<Tls> {
  const keys = parsedKeys((await contentOf(path, '--psk')).toString(), path);
  const [user] = keys.keys();
  if (user === undefined) throw new NodeosError(`--psk ${path}: it has no key`, { hint: 'psktool makes such files' });
  return {
    server: { required, psk: { find: (identity) => keys.get(identity) } },
    query: { 'tls-psk-file': resolve(path) },
    user,
  };
}

function parsedKeys(text: string, path: string): ReturnType<typeof parsePskFile> {
  try {
    return parsePskFile(text);
  } catch (error) {
    throw new NodeosError(`--psk ${path}: ${messageOf(error)}`, { hint: 'psktool makes such files', cause: error });
  }
}

const contentOf = (path: string, option: string): Promise<Buffer> =>
  readFile(path).catch((error: unknown) => {
    throw new NodeosError(`${option}: cannot read ${path}: ${messageOf(error)}`, { cause: error });
  });
