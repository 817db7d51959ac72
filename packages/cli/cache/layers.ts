/** The steps of a system, for the actions that share outputs with other machines. */
import { Cache, resolvePlan, stepsOf, type PlannedStep, type Step } from '@nodeos/engine';
import { DEFAULT_TARGET, targetOf } from '@nodeos/targets';
import { BUILD_OPTIONS, systemFor } from '../building.js';
import type { Io, Option } from '../command.js';
import type { Settled } from '../config/settle.js';
import { checkSystem, layerOf } from '../system.js';

export const LAYER_OPTIONS = {
  ...BUILD_OPTIONS,
  app: { type: 'string', short: 'a', value: 'DIR', help: 'with the application of that folder' },
} as const satisfies Record<string, Option>;

/** What `nodeos start` and `nodeos build` need of a system without an application. */
const DEFAULT_LAYERS: readonly string[] = ['kernel', 'initramfs', 'initramfs-base', 'usr'];

/** The steps that make the layers. @throws UsageError for an unknown layer */
export async function wantedSteps(names: readonly string[], settled: Settled, io: Io): Promise<Step[]> {
  const target = targetOf(settled.args.text('target') ?? DEFAULT_TARGET);
  const wanted = names.length > 0 ? names : DEFAULT_LAYERS;
  checkSystem(target, wanted);
  const system = await systemFor(target, settled, io);
  return stepsOf(...wanted.map((name) => layerOf(system, name).artifacts[0]));
}

/** The same steps with all that they are made from, inputs first. */
export async function plannedLayers(
  cache: Cache,
  names: readonly string[],
  settled: Settled,
  io: Io,
): Promise<readonly PlannedStep[]> {
  return (await resolvePlan(cache, await wantedSteps(names, settled, io), { all: true })).steps;
}
