/** nodeos nbd attach: attaches a disk as a block device of this machine. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { isIP, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, NodeosError, UsageError } from '@nodeos/base';
import { parseUri } from '@nodeos/nbd';
import { buildingOf } from '../building.js';
import type { Command, Io, Parsed } from '../command.js';
import { JSON_MESSAGES } from '../json-options.js';
import { withProgress } from '../opened.js';
import { openExports } from '@nodeos/disk';
import { attachTool, checkDevice, checkDriver, freeDevice, isAttached, type AttachTool } from './kernel-device.js';
import { logFor } from './log.js';
import { integerOption } from './options.js';
import { serving } from './serving.js';
import { withExport } from './uris.js';

/** Milliseconds between two checks whether the device is still attached. */
const PAUSE = 500;
/** Maximum number of connections that the attach tool supports. */
const MAX_CONNECTIONS = 8;
/** Seconds. The kernel's 32-bit counter may hold milliseconds. */
const MAX_TIMEOUT = 4_294_967;

export const attachCommand: Command = {
  name: 'nbd attach',
  summary: 'Makes a disk a block device of this machine (Linux; needs root).',
  operands: 'SOURCE [/dev/nbdN]',
  options: {
    connections: { type: 'string', value: 'N', help: 'to the server (default 1, at most 8)' },
    timeout: { type: 'string', value: 'S', help: 'requests fail after S seconds without a server (default 0: never)' },
    'read-only': { type: 'boolean', short: 'r', help: 'of what is no nbd:// URI: refuse writes' },
    json: JSON_MESSAGES,
  },
  examples: [
    ['nodeos nbd attach nbd://10.0.0.2/disk /dev/nbd0', 'an export; stays until nodeos nbd detach /dev/nbd0'],
    ['nodeos nbd attach https://example.org/disk.img', 'any other source: until Ctrl-C, on a device that is free'],
  ],
  async run(args, io) {
    const { source, device, toolArgs, connections, remote } = jobOf(args);
    await checkDriver();
    const path = device ?? (await freeDevice());
    if (await isAttached(path))
      throw new NodeosError(`${path} is in use`, { hint: `nodeos nbd detach ${path}, or take another one` });
    const tool = await attachTool(buildingOf({ args }), io);
    const attach: Attach = (uri, secret) =>
      tool([...toolArgs, ...(secret === undefined ? [] : ['-s']), uri, path], secret);
    if (!remote) return attachServed({ source, path, connections, tool, attach }, args, io);
    await attach(remote.uriFor(await addressOf(remote.address, source, io)));
    io.stdout.write(`${path}\n`);
    return 0;
  },
};

interface Job {
  readonly source: string;
  readonly device: string | undefined;
  /** Arguments for the attach tool. */
  readonly toolArgs: readonly string[];
  readonly connections: number | undefined;
  /** An export that the tool reaches itself. Undefined: this process serves the source to the kernel. */
  readonly remote: Remote | undefined;
}

function jobOf(args: Parsed): Job {
  const [source, device, ...more] = args.operands;
  if (source === undefined || more.length > 0)
    throw new UsageError('nodeos nbd attach SOURCE [/dev/nbdN]', { hint: 'see nodeos nbd attach --help' });
  const timeout = integerOption(args, 'timeout', 0, MAX_TIMEOUT);
  const connections = integerOption(args, 'connections', 1, MAX_CONNECTIONS);
  const remote = /^nbd:\/\//i.test(source) ? remoteOf(source, connections) : undefined;
  if (remote && args.flag('read-only'))
    throw new UsageError('--read-only: of an nbd:// URI, the server says what can be written', {
      hint: 'start that one with --read-only',
    });
  return {
    source,
    device: device === undefined ? undefined : checkDevice(device),
    toolArgs: timeout === undefined ? [] : ['-t', String(timeout)],
    connections,
    remote,
  };
}

/** An NBD export that the tool can attach without this process. */
interface Remote {
  readonly address: { readonly host: string; readonly port: number };
  /** The URI for the tool, with the host's address in place of its name. */
  uriFor(address: string): string;
}

/**
 * Parses an nbd:// URI, which may contain the attach tool's own parameter `?connections=N`. Other clients do not know
 * it.
 * @param wanted number of connections; overrides the URI
 * @throws UsageError if the URI is invalid, or `connections` is not from 1 to 8
 */
export function remoteOf(text: string, wanted?: number): Remote {
  // Parsed by hand, because `URL` would resolve a/../b in an export's name as a path.
  const [, user = '', host = '', path = '', query = ''] =
    /^nbd:\/\/([^@/?#]*@)?([^/?#]*)([^?]*)\??(.*)$/is.exec(text) ?? [];
  const parameters = query.split('&').filter((word) => word !== '');
  const otherParameters = parameters.filter((word) => !CONNECTIONS.test(word));
  const ownParameter = parameters.find((word) => CONNECTIONS.test(word));
  if (ownParameter !== undefined && !/=[1-8]$/.test(ownParameter))
    throw new UsageError(`${text}: expected connections=N, from 1 to ${MAX_CONNECTIONS}`);
  const chosen = wanted === undefined ? ownParameter : `connections=${wanted}`;
  const uri = (address: string, ...parameters: readonly string[]): string =>
    `nbd://${user}${address}${path === '' ? '/' : path}${parameters.length === 0 ? '' : `?${parameters.join('&')}`}`;
  const address = hostOf(uri(host, ...otherParameters), text);
  return { address, uriFor: (address) => uri(address, ...otherParameters, ...(chosen === undefined ? [] : [chosen])) };
}

const CONNECTIONS = /^connections=/;

function hostOf(uri: string, text: string): Remote['address'] {
  try {
    const { at } = parseUri(uri);
    if ('host' in at) return at;
    throw new Error('expected a host');
  } catch (error) {
    throw new UsageError(`cannot attach ${text}: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Resolves a name the way this machine does, including `/etc/hosts`. The tool cannot do that, so it gets the address
 * that answers.
 */
async function addressOf({ host, port }: Remote['address'], uri: string, { signal }: Io): Promise<string> {
  const withPort = (address: string): string => `${isIP(address) === 6 ? `[${address}]` : address}:${port}`;
  if (isIP(host)) return withPort(host);
  const socket = new Socket();
  try {
    await once(socket.connect({ host, port, autoSelectFamily: true }), 'connect', { signal });
    const { remoteAddress: address = '' } = socket;
    if (address.includes('%')) throw new Error(`${address} is of one link only`);
    return withPort(address);
  } catch (error) {
    throw new NodeosError(`cannot attach ${uri}: ${messageOf(error)}`, { cause: error });
  } finally {
    socket.destroy();
  }
}

interface Served {
  readonly source: string;
  readonly path: string;
  readonly connections: number | undefined;
  readonly tool: AttachTool;
  readonly attach: Attach;
}

/** @param secret the end of the export's name, which is kept out of the URI */
type Attach = (uri: string, secret?: string) => Promise<void>;

/** Serves a source that the kernel cannot reach, for as long as the device is attached. */
async function attachServed(
  { source, path, connections, tool, attach }: Served,
  args: Parsed,
  io: Io,
): Promise<number> {
  // Every user of this machine can connect to loopback. So the name is random and does not appear in a process list.
  const name = randomBytes(16).toString('hex');
  const wanted = [{ name, source }];
  const exports = await withProgress(io, (progress) =>
    openExports({ wanted, readOnly: args.flag('read-only'), onlyNamed: true, progress, signal: io.signal }),
  );
  const { event: onEvent } = logFor(args, io);
  const options = { exports, listen: [{ host: '127.0.0.1', port: 0 }], onEvent };
  return serving(options, io, async ({ uris: [uri = ''] }) => {
    await attach(withExport(uri, '', connections === undefined ? {} : { connections: String(connections) }), name);
    io.stdout.write(`${path}\n`);
    while (!io.signal.aborted && (await isAttached(path))) await sleep(PAUSE);
    if (!io.signal.aborted) return 0;
    await tool(['-d', path]);
    throw io.signal.reason;
  });
}
