/** nodeos store top: what a server of images is doing, or where the bytes of an image are. */
import { setTimeout as sleep } from 'node:timers/promises';
import { formatSize, messageOf, NodeosError, UsageError, visibleJson } from '@nodeos/base';
import { findRecipe, openStore, parseReference, picture } from '@nodeos/store';
import type { Command, Io, Parsed } from '../command.js';
import { JSON_OPTION } from '../json-options.js';
import { operandsOf } from '../nbd/options.js';
import { recipeOf } from './options.js';

export const topCommand: Command = {
  name: 'store top',
  summary:
    'Shows what nodeos store serve --metrics is doing, or draws which chunks of an image are shared or read at start.',
  operands: 'URL|STORE:NAME',
  options: {
    with: { type: 'string', value: 'STORE:NAME', help: 'of an image: mark what it shares with that one' },
    once: { type: 'boolean', help: 'of a server: print once, and end' },
    width: { type: 'string', value: 'N', help: 'of the picture, in characters (default 64)' },
    json: JSON_OPTION,
  },
  examples: [
    [
      'nodeos store top http://127.0.0.1:9100/metrics',
      'hits by tier, bytes, waiting blocks; each second, until Ctrl-C',
    ],
    ['nodeos store top /srv/store:app-2 --with /srv/store:app-1', 'the picture of an image'],
  ],
  async run(args, io) {
    const [text = ''] = operandsOf('store top', args, 'URL|STORE:NAME');
    if (/^https?:\/\/.*\/metrics$/.test(text)) return watch(text, args, io);
    io.stdout.write(await drawn(text, args));
    return 0;
  },
};

interface Sample {
  readonly tiers: ReadonlyMap<string, Readonly<Record<string, number>>>;
  readonly waiting: number;
  readonly blocks: number;
}

async function watch(url: string, args: Parsed, io: Io): Promise<number> {
  for (;;) {
    const sample = await sampleOf(url, io.signal);
    if (args.flag('json')) io.stdout.write(visibleJson({ ...sample, tiers: Object.fromEntries(sample.tiers) }) + '\n');
    else io.stdout.write(`${io.stdout.isTTY ? '\x1b[H\x1b[J' : ''}${textOf(sample)}`);
    if (args.flag('once')) return 0;
    await sleep(1000, undefined, { signal: io.signal });
  }
}

async function sampleOf(url: string, signal: AbortSignal): Promise<Sample> {
  const text = await fetch(url, { signal })
    .then((answer) => answer.text())
    .catch((error: unknown) => {
      signal.throwIfAborted();
      throw new NodeosError(`cannot read ${url}: ${messageOf(error)}`, {
        hint: 'nodeos store serve --metrics',
        cause: error,
      });
    });
  const tiers = new Map<string, Record<string, number>>();
  const value = (name: string): number => Number(new RegExp(`^nodeos_store_${name} (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
  for (const [, name = '', tier = '', number] of text.matchAll(
    /^nodeos_store_(\w+)_total\{tier="((?:[^"\\]|\\.)*)"\} (\S+)$/gm,
  ))
    tiers.set(tier, { ...tiers.get(tier), [name]: Number(number) });
  return { tiers, waiting: value('waiting'), blocks: value('blocks_total') };
}

function textOf({ tiers, waiting, blocks }: Sample): string {
  const rows = [...tiers].map(([tier, { hits = 0, bytes = 0, missing = 0, invalid = 0, failed = 0 }]) =>
    [tier, hits, formatSize(bytes), missing, invalid, failed].map(String),
  );
  const table = [['tier', 'hits', 'bytes', 'missing', 'invalid', 'failed'], ...rows];
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n${blocks} blocks unpacked, ${waiting} waited for\n`;
}

async function drawn(text: string, args: Parsed): Promise<string> {
  const { store: place, name } = parseReference(text);
  const width = args.number('width', 8) ?? 64;
  if (!Number.isInteger(width) || width > 1000) throw new UsageError(`--width ${width}: a whole number from 8 to 1000`);
  const store = openStore(place);
  try {
    const found = await findRecipe(store, name);
    const other = args.text('with');
    const shown = await picture(store, found, other === undefined ? undefined : await recipeOf(other));
    if (args.flag('json')) return visibleJson(shown) + '\n';
    const lines = shown.blocks.match(new RegExp(`.{1,${width}}`, 'g')) ?? [];
    return [...lines, '', ...shown.legend, ''].join('\n');
  } finally {
    await store.close();
  }
}
