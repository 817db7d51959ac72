/** nodeos cache: lists, verifies and shrinks the cache. */
import { UsageError, visible, visibleJson, formatSize } from '@nodeos/base';
import { Cache, checkCacheFolder, prune, removeEntry, usageOf, type Skipped } from '@nodeos/engine';
import { printMessage, type Command, type Io, type Parsed } from '../command.js';

export const cacheCommand: Command = {
  name: 'cache',
  summary: 'Looks after the cache of built outputs and fetched sources ($NODEOS_CACHE, else ~/.cache/nodeos).',
  operands: 'ls|prune|verify',
  options: {
    keep: { type: 'string', value: 'N', help: 'prune: outputs of each step to keep, the last used ones (default 1)' },
    sources: { type: 'boolean', help: 'prune: also fetched sources, which the next build fetches again' },
    'dry-run': { type: 'boolean', short: 'n', help: 'prune: only say what would go' },
    remove: { type: 'boolean', help: 'verify: remove what is damaged, so that it is built again' },
    json: { type: 'boolean', help: 'JSON instead of text' },
  },
  examples: [
    ['nodeos cache ls', 'what is in it, the last used first'],
    ['nodeos cache verify', 'reads and checks every file; exit status 1 if one is damaged'],
    ['nodeos cache prune --keep 2 --dry-run', 'what could go if two of each were kept'],
  ],
  run(args, io) {
    const [verb = 'ls', ...more] = args.operands;
    const action = Object.hasOwn(ACTIONS, verb) ? ACTIONS[verb] : undefined;
    if (!action || more.length > 0) {
      throw new UsageError(`nodeos cache: unknown action "${args.operands.join(' ')}"`, {
        hint: 'ls, prune or verify',
      });
    }
    return action(new Cache(), args, io);
  },
};

const ACTIONS: Readonly<Record<string, (cache: Cache, args: Parsed, io: Io) => Promise<number>>> = {
  async ls(cache, args, io) {
    const list = await usageOf(cache);
    if (args.flag('json')) {
      for (const { entry, bytes, used } of list) io.stdout.write(visibleJson({ ...entry, bytes, used }) + '\n');
      return 0;
    }
    for (const { entry, bytes, used } of list) {
      const lastUsed = used.toISOString().replace('T', ' ').slice(0, 16);
      io.stdout.write(`${entry.key.slice(0, 12)}  ${size(bytes)}  ${lastUsed}  ${entry.name} (${entry.target})\n`);
    }
    const total = list.reduce((sum, { bytes }) => sum + bytes, 0);
    io.stdout.write(`${list.length} outputs, ${size(total).trim()}, in ${cache.root}\n`);
    return 0;
  },

  async prune(cache, args, io) {
    const dryRun = args.flag('dry-run');
    const { removed, skipped } = await prune(cache, {
      keepPerStep: args.number('keep', 0) ?? 1,
      sources: args.flag('sources'),
      dryRun,
    });
    for (const item of removed) {
      io.stdout.write(args.flag('json') ? visibleJson(item) + '\n' : `${size(item.bytes)}  ${item.path}\n`);
    }
    reportSkipped(io, skipped);
    const total = removed.reduce((sum, { bytes }) => sum + bytes, 0);
    if (!args.flag('json')) io.stdout.write(`${dryRun ? 'would free' : 'freed'} ${size(total).trim()}\n`);
    return 0;
  },

  async verify(cache, args, io) {
    if (args.flag('remove')) await checkCacheFolder(cache.root);
    let damaged = 0;
    const entries = await cache.entries();
    for (const entry of entries) {
      io.signal.throwIfAborted();
      const reason = await cache.verify(entry);
      if (args.flag('json')) io.stdout.write(visibleJson({ ...entry, damage: reason ?? null }) + '\n');
      if (reason === undefined) continue;
      damaged++;
      if (!args.flag('json'))
        io.stdout.write(`${entry.name} (${entry.target}) ${entry.key.slice(0, 12)}: ${visible(reason)}\n`);
      if (args.flag('remove')) await removeEntry(cache, entry);
    }
    if (!args.flag('json')) io.stdout.write(`${entries.length} outputs checked, ${damaged} damaged\n`);
    return damaged > 0 ? 1 : 0;
  },
};

/** Maximum number of paths listed one by one. */
const MAX_REPORTED = 10;

/** Reports the foreign files that stay in the cache's folders. */
export function reportSkipped(io: Io, skipped: readonly Skipped[]): void {
  for (const { path, reason } of skipped.slice(0, MAX_REPORTED)) printMessage(io, `left alone: ${path}: ${reason}`);
  if (skipped.length > MAX_REPORTED) printMessage(io, `left alone: ${skipped.length - MAX_REPORTED} more`);
}

const size = (bytes: number): string => formatSize(bytes).padStart(11);
