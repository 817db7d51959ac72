/** nodeos store push: cuts a disk into chunks and stores those that are not there. */
import { formatSize, parseSize, UsageError, visibleJson } from '@nodeos/base';
import {
  CODEC_NAMES,
  DEFAULT_BLOCK,
  isSmr,
  openWritableStore,
  parseReference,
  push,
  pushSmr,
  type CodecName,
  type Pushed,
} from '@nodeos/store';
import { printMessage, type Command, type Io, type Parsed } from '../command.js';
import { JSON_PROGRESS } from '../json-options.js';
import { operandsOf } from '../nbd/options.js';
import { meterFor, type Meter } from '../nbd/progress.js';
import { openWithProgress } from '../opened.js';
import { KEY_OPTION, keysOf } from './options.js';

export const pushCommand: Command = {
  name: 'store push',
  summary: 'Cuts a disk into chunks, stores those that are not there, and names the image.',
  operands: 'SOURCE STORE:NAME',
  options: {
    key: { ...KEY_OPTION, help: `encrypts: ${KEY_OPTION.help}` },
    codec: { type: 'string', value: 'CODEC', help: `${CODEC_NAMES.join(', ')} (default zstd)` },
    'block-size': { type: 'string', value: 'SIZE', help: 'a power of two from 4K to 4M (default 512K)' },
    base: {
      type: 'string',
      multiple: true,
      value: 'NAME',
      help: 'in a registry: an image there that may share chunks; other stores know all that they have',
    },
    filesystem: { type: 'string', value: 'TEXT', help: 'what is in it, for people: ext4' },
    json: JSON_PROGRESS,
  },
  examples: [
    ['nodeos store push disk.img /srv/store:debian-12', 'a second version stores only what is new'],
    [
      'nodeos store push disk.img s3://bucket/store:debian-12 --key tenant.key',
      'encrypted, so that the bucket knows nothing',
    ],
    ['nodeos store push disk.img oci://registry.example/disks:v2 --base v1', 'into a registry of containers'],
    ['nodeos store push disk.img "smr:out/disk.recipe?blocks=smr"', 'in the format of stream-my-root'],
  ],
  async run(args, io) {
    const [from = '', to = ''] = operandsOf('store push', args, 'SOURCE', 'STORE:NAME');
    const settings = await settingsOf(args, io);
    const target = isSmr(to) ? undefined : parseReference(to);
    const device = await openWithProgress(from, { cached: true }, io);
    const meter = meterFor('pushed', args, io);
    const progress: Meter['update'] = (done, size) => {
      io.signal.throwIfAborted();
      meter.update(done, size);
    };
    try {
      if (!target) {
        const { blocks, newBlocks } = await pushSmr(device, to, progress);
        meter.close();
        reportSmr({ to, blocks, newBlocks }, args, io);
        return 0;
      }
      const store = openWritableStore(target.store);
      const options = { ...settings, progress, signal: io.signal };
      const pushed = await push(device, store, target.name, options).finally(() => store.close());
      meter.close();
      report(to, pushed, args, io);
      return 0;
    } finally {
      meter.close();
      await device.close();
    }
  },
};

async function settingsOf(args: Parsed, io: Io): Promise<Parameters<typeof push>[3] & object> {
  const codec = args.text('codec') ?? 'zstd';
  if (!CODEC_NAMES.includes(codec as CodecName))
    throw new UsageError(`--codec ${codec}: expected ${CODEC_NAMES.join(', ')}`);
  const blockText = args.text('block-size');
  const blockSize = blockText === undefined ? DEFAULT_BLOCK : parseSize(blockText, '--block-size');
  if (!(blockSize >= 4096 && blockSize <= 4 << 20 && Number.isInteger(Math.log2(blockSize))))
    throw new UsageError(`--block-size ${blockText ?? ''}: expected a power of two from 4K to 4M`);
  return {
    codec: codec as CodecName,
    blockSize,
    filesystem: args.text('filesystem') ?? '',
    bases: args.texts('base'),
    keys: await keysOf(args, io),
  };
}

/** The last line of push and commit. */
export function report(to: string, pushed: Pushed & { readonly changedBlocks?: number }, args: Parsed, io: Io): void {
  const { id, recipe, chunks, storedBytes, newChunks, newBytes, changedBlocks } = pushed;
  if (args.flag('json')) {
    const result = { name: to, id, size: recipe.size, chunks, storedBytes, newChunks, newBytes, changedBlocks };
    io.stdout.write(visibleJson({ event: 'done', ...result }) + '\n');
    return;
  }
  const share = storedBytes === 0 ? '' : ` (${((newBytes / storedBytes) * 100).toFixed(1)} %)`;
  printMessage(
    io,
    `${to}: ${formatSize(recipe.size)} in ${chunks} chunks of ${formatSize(storedBytes)} as stored; new are ${newChunks}, ${formatSize(newBytes)}${share}`,
  );
}

function reportSmr(
  result: { readonly to: string; readonly blocks: number; readonly newBlocks: number },
  args: Parsed,
  io: Io,
): void {
  const { to, blocks, newBlocks } = result;
  if (args.flag('json')) io.stdout.write(visibleJson({ event: 'done', name: to, blocks, newBlocks }) + '\n');
  else printMessage(io, `${to}: ${blocks} blocks, ${newBlocks} of them new`);
}
