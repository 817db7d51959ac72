/** nodeos store serve: images of stores over NBD. */
import { once } from 'node:events';
import { parseSize, UsageError, type Closer, closing } from '@nodeos/base';
import { openExports, EACH, type Wanted } from '@nodeos/disk';
import {
  chunkServer,
  encodeStartList,
  isSmr,
  parseReference,
  peersTier,
  prometheus,
  storeReader,
  type OpenedImage,
  type StoreReader,
  type Tier,
  type WritableImageStore,
} from '@nodeos/store';
import { printMessage, type Command, type Io, type Parsed } from '../command.js';
import { logFor } from '../nbd/log.js';
import { JSON_OPTION } from '../nbd/options.js';
import { runWith, listenAddresses } from '../nbd/serve.js';
import { listenHttp } from '../nbd/metrics.js';
import { serving } from '../nbd/serving.js';
import { TLS_OPTIONS, tlsOf } from '../nbd/tls.js';
import { unlessKilled } from '../nbd/stop.js';
import { KEY_OPTION, keysOf } from './options.js';
import { startRecorder } from './recorder.js';

export const serveCommand: Command = {
  name: 'store serve',
  summary: 'Serves images of stores over NBD: what is read is fetched, checked and kept.',
  operands: '[NAME=]STORE:NAME… [-- COMMAND…]',
  options: {
    key: KEY_OPTION,
    cache: { type: 'string', value: 'DIR', help: 'keep fetched chunks there; several processes may share it' },
    'cache-size': { type: 'string', value: 'SIZE', help: 'of --cache, at most (default 10G)' },
    memory: { type: 'string', value: 'SIZE', help: 'of unpacked blocks for each image (default 64M)' },
    overlay: {
      type: 'string',
      value: 'FILE',
      help: 'what is written goes to FILE, for nodeos store commit; each: to one for each connection, gone with it',
    },
    record: {
      type: 'boolean',
      help: 'keep what is read within a minute of the first read, in order, as the start list of each image',
    },
    'no-start-list': { type: 'boolean', help: 'fetch only what is read' },
    whole: { type: 'boolean', help: 'fetch the rest too, behind everything else' },
    patience: { type: 'string', value: 'S', help: 'seconds to ask a store that does not answer (default 60)' },
    http: { type: 'string', value: '[HOST:]PORT', help: 'give chunks to the hosts that have this one as --peer' },
    self: { type: 'string', value: 'URL', help: 'with --http: this host, as the others have it in their --peer' },
    peer: {
      type: 'string',
      multiple: true,
      value: 'URL',
      help: 'another host with --http; again for more, on all hosts alike',
    },
    listen: {
      type: 'string',
      multiple: true,
      value: 'URI',
      help: 'where (default nbd://127.0.0.1:10809); port 0: any; also nbd+unix:///?socket=PATH; again for more',
    },
    ...TLS_OPTIONS,
    metrics: { type: 'string', value: '[HOST:]PORT', help: 'counters for Prometheus, and for nodeos store top' },
    json: { ...JSON_OPTION, help: 'the log as JSON lines on standard output' },
  },
  examples: [
    ['nodeos store serve /srv/store:debian-12', 'read-only, for any number of machines'],
    ['nodeos store serve https://cdn.example/store:debian-12 --cache /var/cache/chunks', 'each chunk is fetched once'],
    [
      'nodeos store serve /srv/store:debian-12 --overlay changes',
      'a disk that can be written; see nodeos store commit',
    ],
    ['nodeos store serve a=/srv/store:app-1 b=/srv/store:app-2 --metrics 9100', 'two exports'],
    ['nodeos store serve "smr:out/disk.recipe?blocks=smr&size=1G"', 'an image of stream-my-root'],
  ],
  async run(args, io) {
    const settings = await settingsOf(args, io);
    const reader = await storeReader({
      ...settings.reader,
      onRescued: (id) =>
        printMessage(io, `the chunk ${id} was condemned and has been read: collections delete nothing now`),
    });
    const closers: Closer[] = [() => reader.close()];
    const address = args.text('http');
    if (address !== undefined) {
      const server = await listenHttp('--http', address, chunkServer(reader.local));
      closers.push(() => server.close());
      printMessage(io, `chunks for other hosts: ${server.url}`);
    }
    return closing(serveWith(reader, settings, args, io, closers), closers);
  },
};

type Settings = Awaited<ReturnType<typeof settingsOf>>;

async function settingsOf(args: Parsed, io: Io) {
  const wanted = wantedOf(args);
  const overlay = args.text('overlay');
  if (overlay !== undefined && overlay !== EACH && wanted.length > 1)
    throw new UsageError('--overlay FILE: only with one image', { hint: 'serve each from a process of its own' });
  const sizeOf = (name: string, otherwise: number): number => {
    const text = args.text(name);
    return text === undefined ? otherwise : parseSize(text, `--${name}`);
  };
  const folder = args.text('cache');
  const tls = await tlsOf(args);
  return {
    wanted,
    overlay,
    tls,
    listen: listenAddresses(args, io, tls !== undefined),
    metrics: args.text('metrics'),
    reader: {
      tenant: (await keysOf(args, io))?.tenant,
      memory: sizeOf('memory', 64 << 20),
      peers: peersOf(args),
      patience: (args.number('patience', 0) ?? 60) * 1000,
      ...(folder !== undefined && { cache: { folder, most: sizeOf('cache-size', 10 * 2 ** 30) } }),
    },
  };
}

/** @throws UsageError unless this host has an address that the others can ask */
function peersOf(args: Parsed): Tier | undefined {
  const [self, peers] = [args.text('self'), args.texts('peer')];
  if (peers.length === 0) return undefined;
  if (self === undefined || args.text('http') === undefined)
    throw new UsageError('--peer: only with --http and --self', {
      hint: '--http 0.0.0.0:9200 --self http://10.0.0.1:9200 --peer http://10.0.0.2:9200',
    });
  for (const url of [self, ...peers])
    if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw new UsageError(`${url}: expected http://HOST:PORT`);
  return peersTier({ self, peers: peers.filter((peer) => peer !== self) });
}

/** `NAME=STORE:NAME`; without the first name, an export is called after the image. @throws UsageError */
function wantedOf({ operands }: Parsed): Wanted[] {
  if (operands.length === 0) throw new UsageError('nodeos store serve: no image', { hint: 'STORE:NAME; see --help' });
  const wanted = operands.map((text) => {
    const [, given, source = text] = /^([A-Za-z0-9._-]+)=(.+)$/s.exec(text) ?? [];
    const name = given ?? (isSmr(source) ? source.replace(/^smr:|\?.*$/g, '') : parseReference(source).name);
    return { name, source };
  });
  const duplicate = wanted.find(({ name }, index) => wanted.findIndex((one) => one.name === name) !== index);
  if (duplicate) throw new UsageError(`two images are called ${duplicate.name}`, { hint: `OTHER=${duplicate.source}` });
  return wanted;
}

async function serveWith(
  reader: StoreReader,
  { wanted, overlay, tls, listen, metrics }: Settings,
  args: Parsed,
  io: Io,
  closers: Closer[],
): Promise<number> {
  const log = logFor(args, io);
  const ending = new AbortController();
  closers.push(() => ending.abort());
  const opened: OpenedImage[] = [];
  const open = async (source: string) => {
    const first: number[] = [];
    const image = await reader.open(source, args.flag('record') ? { onFirst: startRecorder(first) } : {});
    opened.push(image);
    if (args.flag('record')) closers.push(() => keepStartList(image, first, io));
    return image.device;
  };
  const exports = await unlessKilled(openExports({ wanted, overlay, open, signal: io.signal }), io);
  for (const image of opened) void fetchAhead(image, args, ending.signal);
  const more = (): string => prometheus(reader.stats);
  const options = { exports, listen, metrics, moreMetrics: more, tls: tls?.server, onEvent: log.event };
  return serving(options, io, async (listening) => {
    log.listening(listening.uris, exports.list, listening.metrics);
    if (args.passthrough.length > 0) return runWith(tls, exports.list, listening, args, io);
    if (!io.signal.aborted) await once(io.signal, 'abort');
    throw io.signal.reason;
  });
}

/** First what a start reads, then the rest, if it is wanted. */
async function fetchAhead({ device, image }: OpenedImage, args: Parsed, signal: AbortSignal): Promise<void> {
  if (!image) return;
  if (!args.flag('no-start-list') && !args.flag('record')) await device.fetchAhead(image.start, signal);
  if (args.flag('whole'))
    await device.fetchAhead(
      image.recipe.records.map(({ index }) => index),
      signal,
    );
}

async function keepStartList({ image, store }: OpenedImage, blocks: readonly number[], io: Io): Promise<void> {
  if (!image || !store || blocks.length === 0) return;
  if (!('putStartList' in store)) {
    printMessage(io, `${store.name}: nothing can be written there, so the start list is not kept`);
    return;
  }
  await (store as WritableImageStore).putStartList(image.id, encodeStartList(blocks));
  printMessage(io, `${image.name}: the start list has ${blocks.length} of ${image.recipe.records.length} blocks`);
}
