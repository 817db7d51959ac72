/** nodeos nbd attach: a disk as a block device of this machine. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { isIP, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, NodeosError, UsageError } from '@nodeos/build';
import { parseUri } from '@nodeos/nbd';
import { BUILD_OPTIONS } from '../building.js';
import type { Command, Io, Parsed } from '../command.js';
import { openExports } from './exports.js';
import { attachTool, checkDevice, checkDriver, freeDevice, isAttached } from './kernel-device.js';
import { logFor } from './log.js';
import { serving } from './serving.js';
import { withExport } from './uris.js';

/** Milliseconds between looks whether somebody else has detached the device. */
const PAUSE = 500;

export const attachCommand: Command = {
  name: 'nbd attach',
  summary: 'Makes a disk a block device of this machine (Linux; needs root).',
  operands: 'SOURCE [/dev/nbdN]',
  options: {
    connections: { type: 'string', value: 'N', help: 'to the server (default 1, at most 8)' },
    timeout: { type: 'string', value: 'S', help: 'requests fail after S seconds without a server (default: never)' },
    'read-only': { type: 'boolean', short: 'r', help: 'of what is no nbd:// URI: refuse writes' },
    libc: BUILD_OPTIONS.libc,
    json: { type: 'boolean', help: 'messages as JSON lines' },
  },
  examples: [
    ['nodeos nbd attach nbd://10.0.0.2/disk /dev/nbd0', 'an export; stays until nodeos nbd detach /dev/nbd0'],
    ['nodeos nbd attach https://example.org/disk.img', 'any other source: until Ctrl-C, on a device that is free'],
  ],
  async run(args, io) {
    const { source, device } = operandsOf(args);
    await checkDriver();
    const path = device ?? (await freeDevice());
    if (await isAttached(path))
      throw new NodeosError(`${path} is in use`, { hint: `nodeos nbd detach ${path}, or take another one` });
    const tool = await attachTool(args, io);
    if (!source.startsWith('nbd://')) return attachServed({ source, path, tool }, args, io);
    await tool(...wordsOf(args), withConnections(await numeric(source, io), args), path);
    io.stdout.write(`${path}\n`);
    return 0;
  },
};

function operandsOf({ operands }: Parsed): { source: string; device: string | undefined } {
  const [source, device, ...more] = operands;
  if (source === undefined || more.length > 0)
    throw new UsageError('nodeos nbd attach SOURCE [/dev/nbdN]', { hint: 'see nodeos nbd attach --help' });
  return { source, device: device === undefined ? undefined : checkDevice(device) };
}

function wordsOf(args: Parsed): string[] {
  const timeout = args.number('timeout', 0);
  return timeout === undefined ? [] : ['-t', String(timeout)];
}

function withConnections(uri: string, args: Parsed): string {
  const connections = args.number('connections', 1);
  const url = new URL(uri);
  if (url.pathname === '') url.pathname = '/'; // the tool wants one
  if (connections !== undefined) url.searchParams.set('connections', String(connections));
  return url.href;
}

/** Names as this machine has them, `/etc/hosts` among it, of which the tool knows nothing: the address that answers. */
async function numeric(uri: string, { signal }: Io): Promise<string> {
  const socket = new Socket();
  try {
    const { at } = parseUri(uri);
    if (!('host' in at) || isIP(at.host)) return uri;
    await once(socket.connect({ ...at, autoSelectFamily: true }), 'connect', { signal });
    const { remoteAddress: address = '', remoteFamily, remotePort } = socket;
    if (address.includes('%')) throw new Error(`${address} is of one link only`);
    const { host } = new URL(uri);
    return uri.replace(`//${host}`, `//${remoteFamily === 'IPv6' ? `[${address}]` : address}:${remotePort}`);
  } catch (error) {
    throw new NodeosError(`cannot attach ${uri}: ${messageOf(error)}`, { cause: error });
  } finally {
    socket.destroy();
  }
}

interface Served {
  readonly source: string;
  readonly path: string;
  readonly tool: (...words: string[]) => Promise<void>;
}

/** What the kernel cannot reach by itself is served to it by this process, as long as it is attached. */
async function attachServed({ source, path, tool }: Served, args: Parsed, io: Io): Promise<number> {
  // A name that nobody guesses: everybody on this machine can connect to its loopback.
  const name = randomBytes(16).toString('hex');
  const exports = await openExports({
    wanted: [{ name, source }],
    readOnly: args.flag('read-only'),
    onlyNamed: true,
    signal: io.signal,
  });
  const { event: onEvent } = logFor(args, io);
  const options = { exports, listen: [{ host: '127.0.0.1', port: 0 }], onEvent };
  return serving(options, io, async ({ uris: [uri = ''] }) => {
    await tool(...wordsOf(args), withConnections(withExport(uri, name), args), path);
    io.stdout.write(`${path}\n`);
    while (!io.signal.aborted && (await isAttached(path))) await sleep(PAUSE);
    if (!io.signal.aborted) return 0;
    await tool('-d', path);
    throw io.signal.reason;
  });
}
