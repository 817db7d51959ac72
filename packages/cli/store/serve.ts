/** nodeos store serve: images of stores over NBD. */
import { once } from 'node:events';
import { UsageError, type Closer, closing } from '@nodeos/base';
import { openExports, EACH } from '@nodeos/disk';
import { chunkServer, peersTier, prometheus, storeReader, type StoreReader, type Tier } from '@nodeos/store';
import { printMessage, type Command, type Io, type Parsed } from '../command.js';
import { JSON_LOG } from '../json-options.js';
import { logFor } from '../nbd/log.js';
import { runWith, listenAddresses } from '../nbd/serve.js';
import { listenHttp } from '../nbd/metrics.js';
import { serving } from '../nbd/serving.js';
import { TLS_OPTIONS, tlsOf } from '../nbd/tls.js';
import { unlessKilled } from '../nbd/stop.js';
import { imagesOf, readerOptionsOf, READING_OPTIONS, wantedImages } from './reading.js';

export const serveCommand: Command = {
  name: 'store serve',
  summary: 'Serves images of stores over NBD: what is read is fetched, checked and kept.',
  operands: '[NAME=]STORE:NAME… [-- COMMAND…]',
  options: {
    ...READING_OPTIONS,
    overlay: {
      type: 'string',
      value: 'FILE',
      help: 'what is written goes to FILE, for nodeos store commit; each: to one for each connection, gone with it',
    },
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
    json: JSON_LOG,
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
    const reader = await storeReader(settings.reader);
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
  const wanted = wantedImages(args.operands);
  const overlay = args.text('overlay');
  if (overlay !== undefined && overlay !== EACH && wanted.length > 1)
    throw new UsageError('--overlay FILE: only with one image', { hint: 'serve each from a process of its own' });
  const tls = await tlsOf(args);
  return {
    wanted,
    overlay,
    tls,
    listen: listenAddresses(args, io, tls !== undefined),
    metrics: args.text('metrics'),
    reader: { ...(await readerOptionsOf(args, io)), peers: peersOf(args) },
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

async function serveWith(
  reader: StoreReader,
  { wanted, overlay, tls, listen, metrics }: Settings,
  args: Parsed,
  io: Io,
  closers: Closer[],
): Promise<number> {
  const log = logFor(args, io);
  const images = imagesOf(reader, args, io, closers);
  const exports = await unlessKilled(
    openExports({ wanted, overlay, open: (source) => images.open(source), signal: io.signal }),
    io,
  );
  images.fetchAhead();
  const more = (): string => prometheus(reader.stats);
  const options = { exports, listen, metrics, moreMetrics: more, tls: tls?.server, onEvent: log.event };
  return serving(options, io, async (listening) => {
    log.listening(listening.uris, exports.list, listening.metrics);
    if (args.passthrough.length > 0) return runWith(tls, exports.list, listening, args, io);
    if (!io.signal.aborted) await once(io.signal, 'abort');
    throw io.signal.reason;
  });
}
