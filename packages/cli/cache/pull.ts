/** nodeos cache pull: fetches outputs from the remote caches, and builds nothing. */
import { UsageError } from '@nodeos/base';
import { Cache, pull } from '@nodeos/engine';
import { buildingOf, progressFor } from '../building.js';
import { printMessage, type Command } from '../command.js';
import { settle } from '../config/settle.js';
import { sharingOf } from '../sharing.js';
import { LAYER_OPTIONS, wantedSteps } from './layers.js';

export const pullCommand: Command = {
  name: 'cache pull',
  summary: 'Fetches outputs from the remote caches; exit status 1 if something is not there.',
  operands: '[LAYER…]',
  options: { ...LAYER_OPTIONS },
  examples: [
    ['nodeos cache pull', 'all that a start needs, for a time without a network'],
    ['nodeos cache pull kernel --remote /srv/nodeos --trust ed25519:…', 'one layer, from a folder'],
  ],
  async run(args, io) {
    const settled = await settle(args.text('app'), args, io);
    const building = buildingOf(settled);
    const sharing = await sharingOf(building, io);
    if (!sharing)
      throw new UsageError('nodeos cache pull: from which remote cache?', {
        hint: '--remote URL, or NODEOS_REMOTE_CACHE; and a key: --trust KEY, or nodeos cache trust KEY',
      });
    const steps = await wantedSteps(args.operands, settled, io);
    const progress = progressFor(building, io);
    const plan = await pull(new Cache(), steps, { ...sharing, progress, signal: io.signal }).finally(() =>
      progress.close(),
    );
    const missing = plan.wanted.filter(({ planned }) => planned.state === 'build').map(({ step }) => step.name);
    if (missing.length > 0) printMessage(io, `no remote cache has ${missing.join(', ')}: they would be built`);
    return missing.length > 0 ? 1 : 0;
  },
};
