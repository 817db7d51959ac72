/** nodeos cache verify: compares outputs with their manifests, or with what is built anew. */
import { UsageError, visible, visibleJson } from '@nodeos/base';
import { Cache, checkCacheFolder, rebuild, removeEntry } from '@nodeos/engine';
import { buildingOf, progressFor } from '../building.js';
import { printMessage, type Command, type Io, type Parsed } from '../command.js';
import { settle } from '../config/settle.js';
import { checkNoOperands } from './common.js';
import { LAYER_OPTIONS, plannedLayers } from './layers.js';

export const verifyCommand: Command = {
  name: 'cache verify',
  summary: 'Reads and checks every file; or builds a step anew, and compares.',
  operands: '',
  options: {
    remove: { type: 'boolean', help: 'remove what is damaged, so that it is built again' },
    rebuild: {
      type: 'string',
      value: 'STEP',
      help: 'build this step once more, and compare it with what is in the cache, bit for bit',
    },
    ...LAYER_OPTIONS,
  },
  examples: [
    ['nodeos cache verify', 'exit status 1 if a file is damaged'],
    ['nodeos cache verify --rebuild kernel', 'is the kernel that was fetched the one that this machine builds?'],
  ],
  run(args, io) {
    checkNoOperands('cache verify', args);
    const step = args.text('rebuild');
    return step === undefined ? verifyAll(args, io) : verifyRebuilt(step, args, io);
  },
};

async function verifyAll(args: Parsed, io: Io): Promise<number> {
  const cache = new Cache();
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
}

async function verifyRebuilt(name: string, args: Parsed, io: Io): Promise<number> {
  const cache = new Cache();
  const settled = await settle(args.text('app'), args, io);
  const plan = await plannedLayers(cache, [], settled, io);
  const item = plan.find(({ step }) => step.name === name);
  if (!item) {
    const names = plan.map(({ step }) => step.name);
    throw new UsageError(`--rebuild ${name}: no step of this system`, { hint: `the steps are: ${names.join(', ')}` });
  }
  const building = buildingOf(settled);
  const progress = progressFor(building, io);
  const difference = await rebuild(cache, item, { progress, jobs: building.jobs, signal: io.signal }).finally(() =>
    progress.close(),
  );
  if (building.json)
    io.stdout.write(visibleJson({ event: 'result', step: name, difference: difference ?? null }) + '\n');
  else if (difference === undefined) printMessage(io, `${name}: the same bits`);
  else printMessage(io, `${name}: built anew it differs: ${difference}`);
  return difference === undefined ? 0 : 1;
}
