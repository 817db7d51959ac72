/** nodeos store gc: deletes what no image needs. */
import { formatSize, UsageError, visibleJson } from '@nodeos/base';
import { collect, openPrunable, openRepository, resume, type Recipe } from '@nodeos/store';
import { printMessage, type Command, type Parsed } from '../command.js';
import { JSON_OPTION } from '../json-options.js';
import { operandsOf } from '../nbd/options.js';
import { collectRegistry } from './gc-registry.js';
import { recipeOf } from './options.js';

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export const gcCommand: Command = {
  name: 'store gc',
  summary:
    'Deletes chunks that no image needs, a grace period later. In a registry: rewrites packs, deletes old manifests.',
  operands: 'STORE',
  options: {
    grace: {
      type: 'string',
      value: 'TIME',
      help: 'how long a chunk stays young, and condemned, and a replaced manifest stays: 90m, 24h, 7d (default 24h)',
    },
    root: {
      type: 'string',
      multiple: true,
      value: 'STORE:NAME',
      help: 'an image of another store whose chunks stay too',
    },
    resume: { type: 'boolean', help: 'go on after a condemned chunk was read' },
    'dry-run': { type: 'boolean', help: 'only say what would happen' },
    json: JSON_OPTION,
  },
  examples: [
    [
      'nodeos store rm /srv/store:debian-11 && nodeos store gc /srv/store',
      'at least a day later, once more: it is deleted',
    ],
    ['nodeos store gc /srv/store --root s3://bucket/store:debian-12', 'another store that uses these chunks'],
    ['nodeos store gc oci://registry.example/disks --dry-run', 'how much of the packs in a registry is needed'],
  ],
  async run(args, io) {
    const [text = ''] = operandsOf('store gc', args, 'STORE');
    const grace = timeOf(args.text('grace') ?? '24h');
    const isDry = args.flag('dry-run');
    const repository = openRepository(text);
    if (repository) {
      checkForRegistry(args);
      return collectRegistry(repository, { grace, isDry }, args, io);
    }
    const place = openPrunable(text);
    try {
      if (args.flag('resume')) await resume(place);
      const roots: Recipe[] = [];
      for (const root of args.texts('root')) roots.push(await recipeOf(root));
      const done = await collect(place, { grace, roots, isDry });
      if (args.flag('json')) io.stdout.write(visibleJson({ ...done, dry: isDry }) + '\n');
      else
        printMessage(
          io,
          `${place.name}: ${done.images} images need ${done.needed} chunks; ${isDry ? 'to be ' : ''}condemned ${done.condemned}, taken back ${done.returned}, deleted ${done.deleted} (${formatSize(done.deletedBytes)}); ${done.waiting} wait`,
        );
      return 0;
    } finally {
      await place.close?.();
    }
  },
};

/** @throws UsageError for options that mean nothing in a registry: its manifests name what each image needs */
function checkForRegistry(args: Parsed): void {
  if (args.texts('root').length > 0 || args.flag('resume'))
    throw new UsageError('--root and --resume are not for a registry', {
      hint: 'all images of its repository are roots, and nothing of another one is deleted',
    });
}

/** @returns milliseconds. @throws UsageError */
function timeOf(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text) ?? [];
  if (number !== '') return Number(number) * (UNITS[unit] ?? NaN);
  throw new UsageError(`--grace ${text}: expected a time such as 90m, 24h or 7d`);
}
