/** nodeos store mount: images of stores as files of a folder. */
import { once } from 'node:events';
import { join } from 'node:path';
import { closing, formatSize, messageOf, UsageError, visibleJson, type Closer } from '@nodeos/base';
import { EACH, openExports, type Opened, type Wanted } from '@nodeos/disk';
import { runAttached } from '@nodeos/engine';
import type { Mounted } from '@nodeos/fuse';
import { storeReader, type StoreReader } from '@nodeos/store';
import { printMessage, type Command, type Io, type Parsed } from '../command.js';
import { unlessKilled } from '../nbd/stop.js';
import { imagesOf, readerOptionsOf, READING_OPTIONS, wantedImages } from './reading.js';

export const mountCommand: Command = {
  name: 'store mount',
  summary: 'Shows images of stores as files of a folder, by FUSE: what is read is fetched, checked and kept (Linux).',
  operands: '[FILE=]STORE:NAME… DIR [-- COMMAND…]',
  options: {
    ...READING_OPTIONS,
    overlay: { type: 'string', value: 'FILE', help: 'what is written goes to FILE, for nodeos store commit' },
    'allow-other': { type: 'boolean', help: 'other users may read the files too' },
    json: { type: 'boolean', help: 'a JSON line when it is mounted' },
  },
  examples: [
    ['nodeos store mount /srv/store:debian-12 /mnt/images', 'the disk is /mnt/images/debian-12.img; until Ctrl-C'],
    [
      'nodeos store mount https://cdn.example/store:app-1 /mnt/images --cache /var/cache/chunks',
      'mount -o loop,ro /mnt/images/app-1.img /srv/app; each chunk is fetched once',
    ],
    [
      "nodeos store mount rootfs=/srv/store:app-1 /mnt/images -- sh -c 'file -s $NODEOS_MOUNT/rootfs'",
      'for one command',
    ],
    ['nodeos store mount /srv/store:debian-12 /mnt/images --overlay changes', 'a disk that can be written'],
  ],
  async run(args, io) {
    const settings = await settingsOf(args, io);
    const reader = await storeReader(settings.reader);
    const closers: Closer[] = [() => reader.close()];
    return closing(mountWith(reader, settings, args, io, closers), closers);
  },
};

type Settings = Awaited<ReturnType<typeof settingsOf>>;

async function settingsOf(args: Parsed, io: Io) {
  const [folder, images] = [args.operands.at(-1), args.operands.slice(0, -1)];
  if (folder === undefined || images.length === 0)
    throw new UsageError('nodeos store mount STORE:NAME… DIR: an image or the folder is missing', {
      hint: 'nodeos store mount /srv/store:debian-12 /mnt/images; see --help',
    });
  const overlay = args.text('overlay');
  if (overlay === EACH) throw new UsageError('--overlay each: a file has no connections', { hint: '--overlay FILE' });
  if (overlay !== undefined && images.length > 1)
    throw new UsageError('--overlay FILE: only with one image', { hint: 'mount each by a process of its own' });
  const wanted = wantedImages(images).map((image, index) => named(image, images[index] ?? ''));
  return { folder, wanted, overlay, reader: await readerOptionsOf(args, io) };
}

/** A name that is given is the file's. */
const named = ({ name, source }: Wanted, operand: string): Wanted => ({
  source,
  name: operand === source ? `${name.replaceAll('/', '-')}.img` : name,
});

async function mountWith(
  reader: StoreReader,
  { folder, wanted, overlay }: Settings,
  args: Parsed,
  io: Io,
  closers: Closer[],
): Promise<number> {
  const { mountFiles } = await import('@nodeos/fuse'); // no other command needs it
  const images = imagesOf(reader, args, io, closers);
  const disks = await unlessKilled(
    openExports({ wanted, overlay, open: (source) => images.open(source), signal: io.signal }),
    io,
  );
  closers.push(() => unlessKilled(disks.close(), io));
  io.signal.throwIfAborted();
  const files = disks.list.map(({ name, backend }) => ({ name, device: backend }));
  const mounted = await mountFiles(files, folder, {
    allowOther: args.flag('allow-other'),
    onError: (error) => printMessage(io, `${folder}: ${messageOf(error)}`),
  });
  closers.push(() => end(mounted, io));
  images.fetchAhead();
  announce(mounted, disks.list, args, io);
  const [command, ...rest] = args.passthrough;
  if (command !== undefined) return runAttached(command, rest, { NODEOS_MOUNT: mounted.folder }, io);
  await Promise.race([mounted.ended, io.signal.aborted || once(io.signal, 'abort')]);
  io.signal.throwIfAborted();
  return 0; // somebody has unmounted it
}

/** Serves those who still use a file, until they are done or somebody is impatient. */
async function end(mounted: Mounted, { kill, ...io }: Io): Promise<void> {
  const abort = (): void => mounted.abort();
  kill.addEventListener('abort', abort, { once: true });
  const isUsed = await mounted.unmount();
  if (isUsed && !kill.aborted)
    printMessage(
      io,
      `${mounted.folder} is unmounted; somebody still uses a file. It is served until he is done, or until Ctrl-C`,
    );
  if (kill.aborted) abort();
  await mounted.ended.finally(() => kill.removeEventListener('abort', abort));
}

function announce({ folder }: Mounted, disks: readonly Opened[], args: Parsed, io: Io): void {
  const files = disks.map(({ name, source, backend }) => ({
    ...{ path: join(folder, name), source, size: backend.size },
    read_only: backend.write === undefined,
  }));
  if (args.flag('json')) io.stdout.write(visibleJson({ event: 'mounted', folder, files }) + '\n');
  else if (args.passthrough.length === 0)
    for (const { path, source, size, read_only } of files) {
      io.stdout.write(`${path}\n`);
      printMessage(io, `${path} is ${source}: ${formatSize(size)}${read_only ? ', read-only' : ''}`);
    }
}
