/** NBD URIs of listening addresses and of exports. */
import { join } from 'node:path';
import { UsageError } from '@nodeos/base';
import { parseUri, type ListenAt } from '@nodeos/nbd';

/** Adds an export's name and further query parameters to a server's URI. */
export function withExport(uri: string, name: string, parameters: Readonly<Record<string, string>> = {}): string {
  // Parsed by hand, because a URL cannot have a user without a host.
  const [, base = uri, search = ''] = /^([^:]+:\/\/[^/?#]*)[^?#]*\??([^#]*)/.exec(uri) ?? [];
  const pairs = [search, ...Object.entries(parameters).map(([key, value]) => `${key}=${pathIn(value)}`)];
  const query = pairs.filter((word) => word !== '').join('&');
  return `${base}/${pathIn(name)}${query === '' ? '' : `?${query}`}`.replace(/^(nbds?:\/\/[^/]+)\/$/, '$1');
}

/** Percent-encodes a name. Slashes stay, because they belong to the name of an export or file. */
const pathIn = (path: string): string => encodeURIComponent(path).replaceAll('%2F', '/');

/**
 * Parses `--listen`. @throws UsageError if it is not an address, names an export, or asks for TLS without certificates
 */
export function listenAt(text: string, hasTls: boolean): ListenAt {
  const uri = parsed(text);
  if (uri.export !== '')
    throw new UsageError(`--listen ${text}: names an export`, { hint: 'that is what --export is for' });
  if (uri.tls && !hasTls)
    throw new UsageError(`--listen ${text}: there is no TLS without certificates`, { hint: '--tls DIR or --psk FILE' });
  return uri.at;
}

function parsed(text: string): ReturnType<typeof parseUri> {
  try {
    return parseUri(text);
  } catch (error) {
    throw new UsageError(`--listen ${(error as Error).message}`, {
      hint: 'such as nbd://127.0.0.1:10809',
      cause: error,
    });
  }
}

/** The first file descriptor that a service manager passes: sd_listen_fds(3). */
const FIRST = 3;

/** The listening sockets that the service manager passed to this process. */
export function activated(env: Readonly<Record<string, string | undefined>>, pid = process.pid): ListenAt[] {
  if (env['LISTEN_PID'] !== String(pid)) return [];
  const count = Number(env['LISTEN_FDS'] ?? 0);
  return Array.from({ length: Number.isInteger(count) ? count : 0 }, (_, index) => ({ fd: FIRST + index }));
}

export const socketIn = (folder: string): ListenAt => ({ path: join(folder, 'socket') });
