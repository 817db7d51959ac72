/**
 * NBD URIs: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md
 *
 *     nbd://host[:port]/export   nbd+unix:///export?socket=PATH   nbds://… and nbds+unix://… with TLS
 */
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { failure } from '@nodeos/block';
import { DEFAULT_PORT, MAX_STRING } from './protocol.js';
import type { ClientTls } from './tls.js';

export interface NbdUri {
  readonly tls: boolean;
  readonly at: { readonly host: string; readonly port: number } | { readonly path: string };
  /** The name of the export; empty for the default export. */
  readonly export: string;
  /** The PSK identity, from the user part of the URI. */
  readonly username?: string;
  /**
   * A folder with ca-cert.pem, and with client-cert.pem and client-key.pem if the server requires client certificates.
   */
  readonly certificates?: string;
  /** A file with lines of the form `identity:key in hexadecimal`. */
  readonly pskFile?: string;
  /** `tls-verify-peer=false` or `=0`: accept any certificate. */
  readonly insecure?: boolean;
  /** The name in the server's certificate, if it differs from the host. */
  readonly serverName?: string;
}

const SCHEMES: Readonly<Record<string, { readonly tls: boolean; readonly unix: boolean }>> = {
  nbd: { tls: false, unix: false },
  nbds: { tls: true, unix: false },
  'nbd+unix': { tls: false, unix: true },
  'nbds+unix': { tls: true, unix: true },
};

/** Parameters that are allowed after `?`. */
const PARAMETERS = ['socket', 'tls-certificates', 'tls-psk-file', 'tls-hostname', 'tls-verify-peer'] as const;
type Parameters = Partial<Readonly<Record<(typeof PARAMETERS)[number], string>>>;

export const isNbdUri = (text: string): boolean => /^nbds?(\+\w+)?:/i.test(text);

/** @throws TypeError that says what is wrong with the URI */
export function parseUri(text: string): NbdUri {
  const fail = (reason: string): never => {
    throw new TypeError(`${text}: ${reason}`);
  };
  // Not parsed by URL, which allows no user without a host, and resolves a/../b in the name of an export.
  const [, name = '', username = '', authority = '', path = '', query = ''] =
    /^([^:/?#]+):\/\/(?:([^@/?#]*)@)?([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(text) ?? fail('not a URI');
  const scheme = Object.hasOwn(SCHEMES, name.toLowerCase()) ? SCHEMES[name.toLowerCase()] : undefined;
  if (!scheme) return fail(`expected ${Object.keys(SCHEMES).join('://, ')}://`);
  const { socket, ...parameters } = parametersOf(query, fail);
  if (scheme.unix ? !socket || authority !== '' : socket !== undefined || authority === '')
    return fail(scheme.unix ? 'expected …+unix:///EXPORT?socket=PATH' : 'expected a host, and no socket=');
  // One slash is the separator; the rest belongs to the name.
  const exportName = decoded(path.slice(1), fail);
  if (Buffer.byteLength(exportName) > MAX_STRING) return fail(`an export's name has at most ${MAX_STRING} bytes`);
  const verify = parameters['tls-verify-peer'];
  if (verify !== undefined && !VERIFY.has(verify)) return fail(`tls-verify-peer=${verify}: expected true or false`);
  return {
    tls: scheme.tls,
    at: socket === undefined ? hostOf(authority, fail) : { path: socket },
    export: exportName,
    ...(username && { username: decoded(username, fail) }),
    ...(parameters['tls-certificates'] && { certificates: parameters['tls-certificates'] }),
    ...(parameters['tls-psk-file'] && { pskFile: parameters['tls-psk-file'] }),
    ...(parameters['tls-hostname'] && { serverName: parameters['tls-hostname'] }),
    ...(VERIFY.get(verify ?? 'true') ? {} : { insecure: true }),
  };
}

/** A text from which `parseUri` makes the same URI. For the default export of a host there is no trailing slash. */
export function formatUri(uri: NbdUri): string {
  const isUnix = 'path' in uri.at;
  const scheme = `nbd${uri.tls ? 's' : ''}${isUnix ? '+unix' : ''}`;
  const user = uri.username === undefined ? '' : `${encodeURIComponent(uri.username)}@`;
  const authority = 'path' in uri.at ? '' : `${hostIn(uri.at.host)}:${uri.at.port}`;
  const path = isUnix || uri.export !== '' ? `/${pathIn(uri.export)}` : '';
  const parameters: Parameters = {
    ...('path' in uri.at && { socket: uri.at.path }),
    ...(uri.certificates !== undefined && { 'tls-certificates': uri.certificates }),
    ...(uri.pskFile !== undefined && { 'tls-psk-file': uri.pskFile }),
    ...(uri.serverName !== undefined && { 'tls-hostname': uri.serverName }),
    ...(uri.insecure && { 'tls-verify-peer': 'false' }),
  };
  const query = Object.entries(parameters).map(([name, value]) => `${name}=${pathIn(value)}`);
  return `${scheme}://${user}${authority}${path}${query.length === 0 ? '' : `?${query.join('&')}`}`;
}

const hostIn = (host: string): string => (isIPv6(host) ? `[${host.replaceAll('%', '%25')}]` : encodeURIComponent(host));

/** Slashes are kept, because they are part of the name of an export or a file. */
const pathIn = (path: string): string => encodeURIComponent(path).replaceAll('%2F', '/');

const VERIFY: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['false', false],
  ['0', false],
]);

type Fail = (reason: string) => never;

/** A plus sign is literal: this is not a web form. */
function parametersOf(query: string, fail: Fail): Parameters {
  const pairs = query.split('&').filter((pair) => pair !== '');
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name = '', value = ''] = /^([^=]*)=?(.*)$/s.exec(pair) ?? [];
      // A mistyped parameter must not be ignored, because it may be the one that makes the connection secure.
      if (!(PARAMETERS as readonly string[]).includes(name))
        return fail(`unknown parameter ${name}=: expected ${PARAMETERS.join(', ')}`);
      return [name, decoded(value, fail)];
    }),
  );
}

/** A name or an address, and an optional port. */
const AUTHORITY = /^(?:\[([^\]]+)\]|([^\s:[\]]+))(?::(\d*))?$/;

function hostOf(authority: string, fail: Fail): { host: string; port: number } {
  const [, address, name, port = ''] = AUTHORITY.exec(authority) ?? fail('not a URI');
  if (Number(port) > 65535 || (address !== undefined && !isIPv6(decoded(address, fail)))) return fail('not a URI');
  return { host: decoded(address ?? name ?? '', fail), port: port === '' ? DEFAULT_PORT : Number(port) };
}

function decoded(text: string, fail: Fail): string {
  if (text.includes('%00')) return fail('a byte of zero');
  try {
    return decodeURIComponent(text);
  } catch {
    return fail(`${text} is not UTF-8`);
  }
}

/** Reads the files that the URI names. @throws Error if the PSK file is missing, or has no key for the user */
export async function tlsOf({ certificates, pskFile, username, insecure, serverName }: NbdUri): Promise<ClientTls> {
  const common = { ...(insecure ? { insecure } : {}), ...(serverName === undefined ? {} : { serverName }) };
  if (pskFile !== undefined) {
    const keys = parsePskFile(await readFile(pskFile, 'utf8'));
    const identity = username ?? process.env['USER'] ?? 'root';
    const key = keys.get(identity);
    if (!key) throw failure('ENOKEY', `${pskFile} has no key for ${JSON.stringify(identity)}`);
    return { ...common, psk: { identity, key } };
  }
  if (certificates === undefined) return common;
  const optional = async (name: string): Promise<Buffer | undefined> =>
    readFile(join(certificates, name)).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    });
  // One after the other, so that of several unreadable files the same one is always named.
  const ca = await optional('ca-cert.pem');
  const cert = await optional('client-cert.pem');
  const key = await optional('client-key.pem');
  return { ...common, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

/**
 * Parses lines as psktool(1) writes them: `identity:hexadecimal key`. @throws Error that names the first invalid line
 */
export function parsePskFile(text: string): Map<string, Buffer> {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  return new Map(
    lines.map((line, index) => {
      const [, identity, key] = /^([^:]+):((?:[0-9a-fA-F]{2})+)$/.exec(line.trim()) ?? [];
      if (identity === undefined || key === undefined)
        throw failure('EINVAL', `line ${index + 1}: expected IDENTITY:HEXADECIMAL`);
      return [identity, Buffer.from(key, 'hex')];
    }),
  );
}
