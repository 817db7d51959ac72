/** What a machine boots from: built, and for a streamed root also served while the machine runs. */
import { join } from 'node:path';
import { messageOf, UsageError } from '@nodeos/build';
import { USR } from '@nodeos/runtime';
import { stepsOf } from '@nodeos/initramfs';
import { imageAt, type RunMachineOptions } from '@nodeos/vm';
import { buildSteps } from './building.js';
import { say, type Io, type Parsed } from './command.js';
import { serveRoot } from './streamed-root.js';
import type { Layers } from './system.js';

/** Where the guest finds Node.js. */
export const RUNTIMES = ['disk', 'initramfs', 'root'] as const;
export type RuntimePlace = (typeof RUNTIMES)[number];

export interface Media extends Pick<RunMachineOptions, 'kernel' | 'initramfs' | 'usr'> {
  /** For the kernel's command line. */
  readonly words: readonly string[];
  close(): Promise<void>;
}

export interface MediaOptions {
  readonly runtime: RuntimePlace;
  readonly root: 'initramfs' | 'nbd';
  readonly persist: string | undefined;
  readonly trace: string | undefined;
}

/** The options of the command line that say where the parts of a system come from. @throws UsageError */
export function mediaOf(args: Parsed): MediaOptions {
  const root = args.text('root') ?? 'initramfs';
  if (root !== 'nbd' && root !== 'initramfs') throw new UsageError(`--root ${root}: expected nbd`);
  const runtime = RUNTIMES.find((name) => name === (args.text('runtime') ?? RUNTIMES[0]));
  const allowed = RUNTIMES.filter((name) => name !== (root === 'nbd' ? 'initramfs' : 'root'));
  if (!runtime || !allowed.includes(runtime))
    throw new UsageError(
      `--runtime ${args.text('runtime')}: expected ${allowed.join(' or ')}${root === 'nbd' ? ' with --root nbd' : ''}`,
    );
  const [persist, trace] = [args.text('persist'), args.text('trace')];
  const alone = persist === undefined ? trace && '--trace' : '--persist';
  if (root !== 'nbd' && alone) throw new UsageError(`${alone}: only with --root nbd`);
  if (root === 'nbd' && args.flag('no-network')) throw new UsageError('--root nbd: there is no root without a network');
  return { root, runtime, persist, trace };
}

export function mediaFor(layers: Layers, options: MediaOptions, args: Parsed, io: Io): Promise<Media> {
  return options.root === 'nbd' ? streamed(layers, options, args, io) : unpacked(layers, options, args, io);
}

/** Everything but Node.js comes in the initramfs. */
async function unpacked(layers: Layers, { runtime }: MediaOptions, args: Parsed, io: Io): Promise<Media> {
  const base = runtime === 'disk' ? layers['initramfs-base'] : layers.initramfs;
  const steps = [layers.kernel, base, ...(runtime === 'disk' ? [layers.usr] : [])].map(({ step }) => step);
  const [kernel = '', initramfs = '', usr] = (await buildSteps(steps, args, io)).map(({ output }) => output);
  return {
    kernel: join(kernel, 'vmlinux'),
    initramfs: join(initramfs, base.step.name),
    usr: usr === undefined ? undefined : await imageAt(join(usr, USR)),
    words: [],
    close: () => Promise.resolve(),
  };
}

/** The initramfs only reaches the root, which this process serves. */
async function streamed(layers: Layers, options: MediaOptions, args: Parsed, io: Io): Promise<Media> {
  const { runtime, persist, trace } = options;
  const layer = layers['initramfs-stream'];
  const { runtime: node, ...others } = layer.root;
  const parts = runtime === 'root' ? layer.root : others;
  const third = runtime === 'root' ? node : layers.usr.step;
  const built = await buildSteps([layers.kernel.step, layer.step, third, ...stepsOf(others)], args, io);
  const [kernel = '', initramfs = '', usr = ''] = built.map(({ output }) => output);
  const image = runtime === 'root' ? undefined : await imageAt(join(usr, USR));
  const served = await serveRoot({
    parts,
    built,
    persist,
    trace,
    onEvent: ({ event, error }) => {
      if (error !== undefined) say(io, `root over NBD: ${event}: ${messageOf(error)}`);
    },
  });
  return {
    kernel: join(kernel, 'vmlinux'),
    initramfs: join(initramfs, layer.step.name),
    usr: image,
    words: served.words,
    close: () => served.close(),
  };
}
