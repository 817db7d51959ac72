/** nodeos nbd serve: serves files, URLs and other disks over NBD. */
import { availableParallelism } from 'node:os';
import { parseSize, messageOf, NodeosError, UsageError } from '@nodeos/base';
import { runAttached } from '@nodeos/engine';
import { MIN_REQUEST, MAX_REQUEST, type ListenAt } from '@nodeos/nbd';
import type { Command, Io, Parsed } from '../command.js';
import { JSON_LOG } from '../json-options.js';
import { withProgress } from '../opened.js';
import { ReaderGoneError } from '../output.js';
import { EACH, openExports, type Opened } from '@nodeos/disk';
import { wantedOf } from './wanted.js';
import { logFor } from './log.js';
import { serving, type Listening } from './serving.js';
import { unlessKilled } from './stop.js';
import { TLS_OPTIONS, tlsOf, type Tls } from './tls.js';
import { activated, listenAt, withExport } from './uris.js';

/** The protocol's maximum length of a name or description, in bytes. */
const MAX_STRING = 4096;

const DEFAULT = 'nbd://127.0.0.1:10809';

export const serveCommand: Command = {
  name: 'nbd serve',
  summary: 'Serves files, block devices, URLs and other disks over NBD.',
  operands: '[NAME=]SOURCE… [-- COMMAND…]',
  options: {
    export: {
      type: 'string',
      short: 'e',
      value: 'NAME',
      help: 'the name of the only source, which is the default too',
    },
    'read-only': { type: 'boolean', short: 'r', help: 'refuse writes' },
    overlay: {
      type: 'string',
      value: 'FILE',
      help: 'what is written goes to FILE, and the source stays as it is; each: to one for each connection, gone with it',
    },
    listen: {
      type: 'string',
      multiple: true,
      value: 'URI',
      help: `where (default ${DEFAULT}); port 0: any; also nbd+unix:///?socket=PATH; again for more`,
    },
    ...TLS_OPTIONS,
    metrics: { type: 'string', value: '[HOST:]PORT', help: 'counters for Prometheus: http://127.0.0.1:PORT/metrics' },
    trace: { type: 'string', value: 'FILE', help: 'what is read and written when, as JSON lines: see nodeos nbd plot' },
    description: { type: 'string', value: 'TEXT', help: 'for those who list the exports' },
    connections: { type: 'string', value: 'N', help: 'at once, at most (default 1024)' },
    'max-request': { type: 'string', value: 'SIZE', help: 'of one request, from 64K to 256M (default 32M)' },
    threads: { type: 'string', value: 'N', help: 'for busy connections, at most (default: one per processor)' },
    json: JSON_LOG,
  },
  examples: [
    ['nodeos nbd serve disk.img', `at ${DEFAULT}`],
    ['nodeos nbd serve --overlay changes https://example.org/disk.img', 'a disk on the web that can be written'],
    ['nodeos nbd serve --overlay each golden.img', 'for many machines, each of which starts from the same'],
    ['nodeos nbd serve --overlay changes qcow2:https://example.org/cloud.qcow2', 'an image in QEMU’s format, in place'],
    ['nodeos nbd serve partition:2:disk.img', 'one partition; also tar:MEMBER:, xz:, zstd:'],
    ['nodeos nbd serve usr=usr.img root=root.img --read-only', 'two exports'],
    ["nodeos nbd serve disk.img -- sh -c 'qemu-img info $NBD_URI'", 'for one command, on a private socket'],
    ['nodeos nbd serve disk.img --tls /etc/pki/nbd --listen nbds://0.0.0.0', 'for other machines'],
    ['nodeos nbd serve memory:1G', 'a disk in memory'],
  ],
  async run(args, io) {
    const settings = await settingsOf(args, io);
    const log = logFor(args, io);
    const opening = withProgress(io, (progress) => openExports({ ...settings, progress, signal: io.signal }));
    const exports = await unlessKilled(opening, io);
    const options = { ...settings, tls: settings.tls?.server, exports, onEvent: log.event };
    return serving(options, io, async (listening) => {
      log.listening(listening.uris, exports.list, listening.metrics);
      if (args.passthrough.length > 0) return runWith(settings.tls, exports.list, listening, args, io);
      await aborted(io.signal);
      throw io.signal.reason;
    });
  },
};

interface Settings {
  readonly wanted: ReturnType<typeof wantedOf>;
  readonly readOnly: boolean;
  readonly overlay: string | undefined;
  readonly trace: string | undefined;
  readonly description: string | undefined;
  readonly listen: readonly ListenAt[];
  readonly tls: Tls | undefined;
  readonly metrics: string | undefined;
  readonly connections: number | undefined;
  readonly request: number | undefined;
  readonly threads: number;
}

async function settingsOf(args: Parsed, io: Io): Promise<Settings> {
  if (args.operands.length === 0)
    throw new UsageError('nodeos nbd serve: no source', { hint: 'nodeos nbd serve disk.img; see --help' });
  const wanted = wantedOf(args.operands, args.text('export'));
  for (const text of [...wanted.map(({ name }) => name), args.text('description') ?? ''])
    if (Buffer.byteLength(text) > MAX_STRING)
      throw new UsageError(`${text.slice(0, 20)}…: names and descriptions have at most ${MAX_STRING} bytes`);
  const overlay = args.text('overlay');
  if (overlay !== undefined && overlay !== EACH && wanted.length > 1)
    throw new UsageError('--overlay: only with one source', { hint: 'serve each from a process of its own' });
  if (overlay !== undefined && args.flag('read-only'))
    throw new UsageError('--overlay and --read-only: what is not written needs no overlay');
  const tls = await tlsOf(args);
  return {
    wanted,
    overlay,
    tls,
    readOnly: args.flag('read-only'),
    trace: args.text('trace'),
    description: args.text('description'),
    listen: listenAddresses(args, io, tls !== undefined),
    metrics: args.text('metrics'),
    connections: args.number('connections', 1),
    request: requestOf(args.text('max-request')),
    threads: args.number('threads', 0) ?? availableParallelism(),
  };
}

/** Parses `--max-request` into bytes. @throws UsageError if it is not a size from 64K to 256M */
function requestOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseSize(text, '--max-request');
  if (bytes >= MIN_REQUEST && bytes <= MAX_REQUEST) return bytes;
  throw new UsageError(`--max-request ${text}: expected a size from 64K to 256M`);
}

/**
 * The addresses to listen on: those of `--listen` and those from the service manager. With a command, the list may be
 * empty, which means a private socket.
 */
export function listenAddresses(args: Parsed, io: Io, hasTls: boolean): ListenAt[] {
  const places = [...args.texts('listen').map((text) => listenAt(text, hasTls)), ...activated(io.env)];
  return places.length > 0 || args.passthrough.length > 0 ? places : [listenAt(DEFAULT, hasTls)];
}

/** Runs the command with the first export in `$NBD_URI`. The server ends with the command. */
export async function runWith(
  tls: Tls | undefined,
  exports: readonly Opened[],
  { uris, metrics }: Listening,
  args: Parsed,
  io: Io,
): Promise<number> {
  const [command = '', ...rest] = args.passthrough;
  const NBD_URI = withExport(asUser(uris[0] ?? '', tls?.user), exports[0]?.name ?? '', tls?.query);
  const env = { NBD_URI, ...(metrics === undefined ? {} : { NBD_METRICS: metrics }) };
  try {
    const status = await runAttached(command, rest, env, io);
    if (io.signal.reason instanceof ReaderGoneError) throw io.signal.reason;
    return status;
  } catch (error) {
    io.signal.throwIfAborted();
    throw new NodeosError(messageOf(error), { hint: 'what follows -- is a program and its arguments', cause: error });
  }
}

const asUser = (uri: string, user: string | undefined): string =>
  user === undefined ? uri : uri.replace('://', `://${encodeURIComponent(user).replaceAll('$', '$$$$')}@`);

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
