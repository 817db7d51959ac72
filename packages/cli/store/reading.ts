/** How images are read: what the actions that serve them share. */
import { parseSize, UsageError, type Closer } from '@nodeos/base';
import type { BlockBackend } from '@nodeos/block';
import type { Wanted } from '@nodeos/disk';
import { isSmr, parseReference, type OpenedImage, type ReaderOptions, type StoreReader } from '@nodeos/store';
import { printMessage, type Io, type Option, type Parsed } from '../command.js';
import { KEY_OPTION, keysOf } from './options.js';
import { keeperOf, startRecorder } from './start-list.js';

export const READING_OPTIONS = {
  key: KEY_OPTION,
  cache: { type: 'string', value: 'DIR', help: 'keep fetched chunks there; several processes may share it' },
  'cache-size': { type: 'string', value: 'SIZE', help: 'of --cache, at most (default 10G)' },
  memory: { type: 'string', value: 'SIZE', help: 'of unpacked blocks, of all images together (default 64M)' },
  record: {
    type: 'boolean',
    help: 'keep what is read within a minute of the first read, in order, as the start list of each image',
  },
  'no-start-list': { type: 'boolean', help: 'fetch only what is read' },
  whole: { type: 'boolean', help: 'fetch the rest too, behind everything else' },
  patience: { type: 'string', value: 'S', help: 'seconds to ask a store that does not answer (default 60)' },
} as const satisfies Readonly<Record<string, Option>>;

/** @throws UsageError for a value that is none; NodeosError, as `readKeys` */
export async function readerOptionsOf(args: Parsed, io: Io): Promise<ReaderOptions> {
  const sizeOf = (name: string, otherwise: number): number => {
    const text = args.text(name);
    return text === undefined ? otherwise : parseSize(text, `--${name}`);
  };
  const folder = args.text('cache');
  return {
    tenant: (await keysOf(args, io))?.tenant,
    memory: sizeOf('memory', 64 << 20),
    patience: (args.number('patience', 0) ?? 60) * 1000,
    ...(folder !== undefined && { cache: { folder, most: sizeOf('cache-size', 10 * 2 ** 30) } }),
    onRescued: (id) =>
      printMessage(io, `the chunk ${id} was condemned and has been read: collections delete nothing now`),
  };
}

/** `NAME=STORE:NAME`; without the first name, it is called after the image. @throws UsageError */
export function wantedImages(operands: readonly string[]): Wanted[] {
  if (operands.length === 0) throw new UsageError('no image is named', { hint: 'STORE:NAME; see --help' });
  const wanted = operands.map((text) => {
    const [, given, source = text] = /^([A-Za-z0-9._-]+)=(.+)$/s.exec(text) ?? [];
    const name = given ?? (isSmr(source) ? source.replace(/^smr:|\?.*$/g, '') : parseReference(source).name);
    return { name, source };
  });
  const duplicate = wanted.find(({ name }, index) => wanted.findIndex((one) => one.name === name) !== index);
  if (duplicate) throw new UsageError(`two images are called ${duplicate.name}`, { hint: `OTHER=${duplicate.source}` });
  return wanted;
}

export interface Images {
  /** Opens an image. With `--record`, its start list is kept at the end. */
  open(source: string): Promise<BlockBackend>;
  /** Begins to fetch what a start reads, and the rest if it is wanted. It ends with the closers. */
  fetchAhead(): void;
}

/** @param closers get what is to be done at the end */
export function imagesOf(reader: StoreReader, args: Parsed, io: Io, closers: Closer[]): Images {
  const ending = new AbortController();
  closers.push(() => ending.abort());
  const opened: OpenedImage[] = [];
  return {
    async open(source) {
      const recorder = args.flag('record') ? startRecorder() : undefined;
      const image = await reader.open(source, recorder && { onFirst: recorder.onFirst });
      opened.push(image);
      if (recorder) {
        keeperOf(image); // whoever wants a list hears at the start that it cannot be kept
        closers.push(() => recorder.keep(image, io));
      }
      return image.device;
    },
    fetchAhead() {
      for (const image of opened) void fetchAhead(image, args, ending.signal);
    },
  };
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
