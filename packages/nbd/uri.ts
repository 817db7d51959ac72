/**
 * NBD URIs: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md
 *
 *     nbd://host[:port]/export   nbd+unix:///export?socket=PATH   nbds://… and nbds+unix://… with TLS
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_PORT, MAX_STRING } from './protocol.js';
import type { ClientTls } from './tls.js';

export interface NbdUri {
  readonly tls: boolean;
  readonly at: { readonly host: string; readonly port: number } | { readonly path: string };
  /** Empty: the default export. */
  readonly export: string;
  /** From the user's part: the PSK identity. */
  readonly username?: string;
  /** A folder with ca-cert.pem, and client-cert.pem and client-key.pem if the server wants to know who asks. */
  readonly certificates?: string;
  /** Lines of `identity:key in hexadecimal`. */
  readonly pskFile?: string;
  /** `tls-verify-peer=false`: accept any certificate. */
  readonly insecure?: boolean;
  /** The name in the server's certificate, if it is not the host's. */
  readonly serverName?: string;
}

const SCHEMES: Readonly<Record<string, { readonly tls: boolean; readonly unix: boolean }>> = {
  'nbd:': { tls: false, unix: false },
  'nbds:': { tls: true, unix: false },
  'nbd+unix:': { tls: false, unix: true },
  'nbds+unix:': { tls: true, unix: true },
};

export const isNbdUri = (text: string): boolean => /^nbds?(\+\w+)?:/.test(text);

/** @throws TypeError saying what is wrong with it */
export function parseUri(text: string): NbdUri {
  const wrong = (why: string): never => {
    throw new TypeError(`${text}: ${why}`);
  };
  // `nbds+unix://alice@/` is one here, but not for a URL, which has no user without a host.
  const [, username = ''] = /^[^:/]+:\/\/([^@/?#]*)@/.exec(text) ?? [];
  const anonymous = text.replace(/(?<=^[^:/]+:\/\/)[^@/?#]*@/, '');
  const url = URL.canParse(anonymous) ? new URL(anonymous) : wrong('not a URI');
  const scheme = Object.hasOwn(SCHEMES, url.protocol) ? SCHEMES[url.protocol] : undefined;
  if (!scheme) return wrong(`expected ${Object.keys(SCHEMES).join('//, ')}//`);
  const query = url.searchParams;
  const path = query.get('socket');
  if (scheme.unix ? !path || url.host !== '' : path !== null || url.hostname === '')
    return wrong(scheme.unix ? 'expected …+unix:///EXPORT?socket=PATH' : 'expected a host, and no socket=');
  // One slash is the separator; what follows belongs to the name.
  const name = decodeURIComponent(url.pathname.replace(/^\//, ''));
  if (Buffer.byteLength(name) > MAX_STRING) return wrong(`an export's name has at most ${MAX_STRING} bytes`);
  const port = url.port === '' ? DEFAULT_PORT : Number(url.port);
  const given = (name: string, value: string | null): Record<string, string> => (value ? { [name]: value } : {});
  return {
    tls: scheme.tls,
    at: path === null ? { host: url.hostname.replace(/^\[|\]$/g, ''), port } : { path },
    export: name,
    ...given('username', decodeURIComponent(username)),
    ...given('certificates', query.get('tls-certificates')),
    ...given('pskFile', query.get('tls-psk-file')),
    ...given('serverName', query.get('tls-hostname')),
    ...(query.get('tls-verify-peer') === 'false' ? { insecure: true } : {}),
  };
}

/** Reads what the URI points to. @throws Error if a file is not there, or has no key for the user */
export async function tlsOf({ certificates, pskFile, username, insecure, serverName }: NbdUri): Promise<ClientTls> {
  const common = { ...(insecure ? { insecure } : {}), ...(serverName === undefined ? {} : { serverName }) };
  if (pskFile !== undefined) {
    const keys = parsePskFile(await readFile(pskFile, 'utf8'));
    const identity = username ?? process.env['USER'] ?? 'root';
    const key = keys.get(identity);
    if (!key) throw new Error(`${pskFile} has no key for ${JSON.stringify(identity)}`);
    return { ...common, psk: { identity, key } };
  }
  if (certificates === undefined) return common;
  const optional = async (name: string): Promise<Buffer | undefined> =>
    readFile(join(certificates, name)).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    });
  const [ca, cert, key] = await Promise.all(['ca-cert.pem', 'client-cert.pem', 'client-key.pem'].map(optional));
  return { ...common, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

/** As psktool(1) writes it: `identity:hexadecimal key` lines. @throws Error naming a line that is not one */
export function parsePskFile(text: string): Map<string, Buffer> {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  return new Map(
    lines.map((line, index) => {
      const [, identity, key] = /^([^:]+):((?:[0-9a-fA-F]{2})+)$/.exec(line.trim()) ?? [];
      if (identity === undefined || key === undefined)
        throw new Error(`line ${index + 1}: expected IDENTITY:HEXADECIMAL`);
      return [identity, Buffer.from(key, 'hex')];
    }),
  );
}
