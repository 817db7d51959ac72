/** Provides the files that a machine boots from. A streamed root is also served while the machine runs. */
import { messageOf, UsageError } from '@nodeos/base';
import { stepsOf } from '@nodeos/engine';
import { createSecretInitramfs, serveRoot } from '@nodeos/netroot';
import { rootTree } from '@nodeos/rootfs';
import { imageAt, type RunMachineOptions } from '@nodeos/vm';
import { buildSteps, type Building } from './building.js';
import { printMessage, type Io, type Parsed } from './command.js';
import type { System } from './system.js';

/** The places from which the guest can get Node.js. */
export const RUNTIMES = ['disk', 'initramfs', 'root'] as const;
export type RuntimePlace = (typeof RUNTIMES)[number];
/** Alternatives to a root in the initramfs: over plain NBD, or over NBD with TLS. */
export const ROOTS = ['nbd', 'nbds'] as const;

export interface Media extends Pick<RunMachineOptions, 'kernel' | 'initramfs' | 'usr'> {
  /** Words for the kernel command line. */
  readonly kernelArgs: readonly string[];
  close(): Promise<void>;
}

export interface MediaOptions {
  readonly runtime: RuntimePlace;
  readonly root: 'initramfs' | (typeof ROOTS)[number];
  readonly persist: string | undefined;
  readonly trace: string | undefined;
}

/**
 * Reads the options that say where the system's parts come from.
 * @throws UsageError for an unknown value or options that exclude each other
 */
export function mediaOf(args: Parsed): MediaOptions {
  const wanted = args.text('root') ?? 'initramfs';
  const root = (['initramfs', ...ROOTS] as const).find((name) => name === wanted);
  if (!root) throw new UsageError(`--root ${wanted}: expected ${ROOTS.join(' or ')}`);
  const remote = root !== 'initramfs';
  const runtime = RUNTIMES.find((name) => name === (args.text('runtime') ?? RUNTIMES[0]));
  const allowed = RUNTIMES.filter((name) => name !== (remote ? 'initramfs' : 'root'));
  if (!runtime || !allowed.includes(runtime))
    throw new UsageError(
      `--runtime ${args.text('runtime')}: expected ${allowed.join(' or ')}${remote ? ` with --root ${root}` : ''}`,
    );
  const [persist, trace] = [args.text('persist'), args.text('trace')];
  const rootOption = persist === undefined ? trace && '--trace' : '--persist';
  if (!remote && rootOption) throw new UsageError(`${rootOption}: only with --root ${ROOTS.join(' or ')}`);
  if (remote && args.flag('restrict'))
    throw new UsageError(`--restrict: not with --root ${root}, which the guest has from a server on this host`, {
      hint: 'leave --root out: then the system is in the memory of the guest',
    });
  if (remote && args.flag('no-network')) throw new UsageError(`--root ${root}: there is no root without a network`);
  return { root, runtime, persist, trace };
}

/** Prepares the boot files, by the value of `--root`. */
const SOURCES: Readonly<
  Record<MediaOptions['root'], (system: System, options: MediaOptions, building: Building, io: Io) => Promise<Media>>
> = { initramfs: unpacked, nbd: streamed, nbds: streamed };

export const mediaFor = (system: System, options: MediaOptions, building: Building, io: Io): Promise<Media> =>
  SOURCES[options.root](system, options, building, io);

/** The initramfs contains everything but, with `--runtime disk`, Node.js. */
async function unpacked(system: System, { runtime }: MediaOptions, building: Building, io: Io): Promise<Media> {
  const { vmlinux } = system.kernel;
  const base = runtime === 'disk' ? system.initramfsBase : system.initramfs;
  const images = runtime === 'disk' ? [system.usr] : [];
  const built = await buildSteps(stepsOf(vmlinux, base, ...images), building, io);
  const [usr] = images;
  return {
    kernel: built.path(vmlinux),
    initramfs: built.path(base),
    usr: usr && (await imageAt(built.path(usr))),
    kernelArgs: [],
    close: () => Promise.resolve(),
  };
}

/** The initramfs only connects to the root. This process serves the root. */
async function streamed(system: System, options: MediaOptions, building: Building, io: Io): Promise<Media> {
  const { runtime, persist, trace } = options;
  const { initramfsStream, handshake } = system;
  const { vmlinux } = system.kernel;
  const parts = runtime === 'root' ? [...system.parts, system.runtimePart] : system.parts;
  const images = runtime === 'root' ? [] : [system.usr];
  const programs = options.root === 'nbds' ? [handshake] : [];
  const wanted = [vmlinux, initramfsStream, ...images, ...parts.map(({ artifact }) => artifact), ...programs];
  const built = await buildSteps(stepsOf(...wanted), building, io);
  const [usr] = images;
  const image = usr && (await imageAt(built.path(usr)));
  const [program] = programs;
  const secured = await createSecretInitramfs(built.path(initramfsStream), program && built.path(program));
  try {
    const served = await serveRoot({
      tree: await rootTree(parts, ({ artifact }) => built.path(artifact)),
      persist,
      trace,
      secret: secured.secret,
      key: secured.key,
      onEvent: ({ event, error }) => {
        if (error !== undefined) printMessage(io, `root over NBD: ${event}: ${messageOf(error)}`);
      },
    });
    return {
      kernel: built.path(vmlinux),
      initramfs: secured.initramfs,
      usr: image,
      kernelArgs: served.kernelArgs,
      close: () => served.close().finally(secured.remove),
    };
  } catch (error) {
    await secured.remove();
    throw error;
  }
}
