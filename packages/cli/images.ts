/** Provides the files that a machine boots from. A streamed root is also served while the machine runs. */
import { chmod, copyFile, truncate } from 'node:fs/promises';
import { closing, exists, messageOf, replaceFile, UsageError, type Closer } from '@nodeos/base';
import { stepsOf } from '@nodeos/engine';
import { rootTree } from '@nodeos/rootfs';
import { FORMATS } from '@nodeos/bootfs';
import type { Board, Firmware } from '@nodeos/targets';
import { DRIVE_NAMES, imageAt, type Drive, type RunMachineOptions } from '@nodeos/vm';
import { buildSteps, type Building } from './building.js';
import { printMessage, type Io, type Parsed } from './command.js';
import type { StoredRoot } from './store/root.js';
import type { System } from './system.js';
import type { Tree } from '@nodeos/tree';

/** The places from which the guest can get Node.js. */
export const RUNTIMES = ['disk', 'initramfs', 'root'] as const;
export type RuntimePlace = (typeof RUNTIMES)[number];
/** Alternatives to a root in the initramfs: over plain NBD, or over NBD with TLS. */
export const ROOTS = ['nbd', 'nbds'] as const;

/** What begins the value of `--root` for an image in a store. */
export const STORE = 'store:';

export interface Media extends Pick<RunMachineOptions, 'usr' | 'medium'> {
  /** The kernel and an initramfs. A machine that boots from a medium has its own, and these try out the accelerator. */
  readonly kernel: string;
  readonly initramfs: string;
  /** Words for the kernel command line. */
  readonly kernelArgs: readonly string[];
  close(): Promise<void>;
}

export interface MediaOptions {
  readonly runtime: RuntimePlace;
  readonly root: 'initramfs' | (typeof ROOTS)[number];
  /** The boot medium; undefined for a kernel that QEMU is given. */
  readonly bootFrom: MediumOptions | undefined;
  /** `STORE:NAME`: the root is that image. */
  readonly rootImage: string | undefined;
  /** An application that is named. Its root goes to the store first, if the root is there. */
  readonly app?: string | undefined;
  readonly persist: string | undefined;
  readonly trace: string | undefined;
}

export interface MediumOptions {
  /** The name of a format of boot media. */
  readonly format: string;
  readonly firmware: Firmware;
  readonly drive: Drive;
}

/** The formats that firmware boots from. */
export const BOOTABLE = FORMATS.filter(({ image }) => image !== undefined);

/** Whether a board starts a format of that name. */
export const isBootable = (name: string, { target, firmwares }: Board): boolean =>
  BOOTABLE.some(
    (format) =>
      format.name === name &&
      (format.target ?? target) === target &&
      (format.firmware ? firmwares.includes(format.firmware) : firmwares.some((firmware) => firmware !== 'raspi')),
  );

/** Reads `--format`, `--firmware` and `--drive`. @throws UsageError for an unknown value or options that exclude others */
function mediumOf(args: Parsed, board: Board): MediumOptions | undefined {
  const format = args.text('format');
  if (format === undefined) {
    const lonely = ['firmware', 'drive'].find((name) => args.text(name) !== undefined);
    if (lonely !== undefined) throw new UsageError(`--${lonely}: only with --format`);
    return undefined;
  }
  const names = BOOTABLE.map(({ name }) => name);
  checkOneOf('format', format, names);
  const { target, drive: usual = 'virtio' } = BOOTABLE.find(({ name }) => name === format) ?? {};
  if (!isBootable(format, board))
    throw new UsageError(
      `--format ${format}: the machine ${board.name} does not start it`,
      target === undefined || target === board.target ? {} : { hint: `it is for --target ${target}` },
    );
  const excluded = ['root', 'runtime', 'data'].find((name) => args.text(name) !== undefined);
  if (excluded !== undefined)
    throw new UsageError(`--${excluded}: not with --format, because the medium has a system of its own`);
  const firmware = checkOneOf('firmware', args.text('firmware') ?? board.firmwares[0] ?? '', board.firmwares);
  const drives = DRIVE_NAMES.filter((name) => (name === 'card') === (usual === 'card'));
  const drive = checkOneOf('drive', args.text('drive') ?? usual, drives);
  return { format, firmware, drive };
}

function checkOneOf<Name extends string>(option: string, value: string, names: readonly Name[]): Name {
  const found = names.find((name) => name === value);
  if (found !== undefined) return found;
  throw new UsageError(`--${option} ${value}: expected ${names.join(', ')}`);
}

/**
 * Reads the options that say where the system's parts come from.
 * @param isContainer whether the machine is for a container's image, whose changes can be kept without a root over the network
 * @throws UsageError for an unknown value or options that exclude each other
 */
export function mediaOf(args: Parsed, board: Board, { isContainer = false } = {}): MediaOptions {
  const wanted = args.text('root') ?? 'initramfs';
  const rootImage = wanted.startsWith(STORE) ? wanted.slice(STORE.length) : undefined;
  const root = (['initramfs', ...ROOTS] as const).find((name) => name === (rootImage === undefined ? wanted : 'nbd'));
  if (!root) throw new UsageError(`--root ${wanted}: expected ${ROOTS.join(', ')} or ${STORE}STORE:NAME`);
  const remote = root !== 'initramfs';
  const runtime = RUNTIMES.find((name) => name === (args.text('runtime') ?? RUNTIMES[0]));
  const allowed = RUNTIMES.filter((name) => name !== (remote ? 'initramfs' : 'root'));
  if (!runtime || !allowed.includes(runtime))
    throw new UsageError(
      `--runtime ${args.text('runtime')}: expected ${allowed.join(' or ')}${remote ? ` with --root ${root}` : ''}`,
    );
  const [persist, trace] = [args.text('persist'), args.text('trace')];
  const rootOption = persist === undefined ? trace && '--trace' : '--persist';
  if (!remote && !isContainer && rootOption)
    throw new UsageError(`${rootOption}: only with --root ${ROOTS.join(' or ')}`);
  if (remote && args.flag('restrict'))
    throw new UsageError(`--restrict: not with --root ${root}, which the guest has from a server on this host`, {
      hint: 'leave --root out: then the system is in the memory of the guest',
    });
  if (remote && args.flag('no-network')) throw new UsageError(`--root ${root}: there is no root without a network`);
  return { root, rootImage, runtime, persist, trace, bootFrom: mediumOf(args, board) };
}

/** Prepares the boot files, by the value of `--root`. */
const SOURCES: Readonly<
  Record<MediaOptions['root'], (system: System, options: MediaOptions, building: Building, io: Io) => Promise<Media>>
> = { initramfs: unpacked, nbd: streamed, nbds: streamed };

export const mediaFor = (system: System, options: MediaOptions, building: Building, io: Io): Promise<Media> =>
  (options.bootFrom ? onMedium : SOURCES[options.root])(system, options, building, io);

/** Everything is on a boot medium, which the firmware starts. */
async function onMedium(system: System, { bootFrom }: MediaOptions, building: Building, io: Io): Promise<Media> {
  if (!bootFrom) throw new TypeError('no format');
  const { format, artifacts } = system.format(bootFrom.format);
  const [image] = artifacts;
  const { kernel, initramfsBase } = system;
  const built = await buildSteps(stepsOf(image, kernel.direct, initramfsBase), building, io);
  const { deviceTree } = system.board;
  const card =
    deviceTree === undefined ? undefined : await (await import('./card.js')).openCard(built.path(image), system.board);
  return {
    kernel: built.path(kernel.direct),
    initramfs: built.path(initramfsBase),
    medium: {
      ...bootFrom,
      format: format.image ?? 'raw',
      path: card?.path ?? built.path(image),
      ...(card && { card }),
    },
    kernelArgs: [],
    close: async () => card?.close(),
  };
}

/** The initramfs contains everything but, with `--runtime disk`, Node.js. */
async function unpacked(system: System, { runtime }: MediaOptions, building: Building, io: Io): Promise<Media> {
  const { direct } = system.kernel;
  const base = runtime === 'disk' ? system.initramfsBase : system.initramfs;
  const images = runtime === 'disk' ? [system.usr] : [];
  const built = await buildSteps(stepsOf(direct, base, ...images), building, io);
  const [usr] = images;
  return {
    kernel: built.path(direct),
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
  const { direct } = system.kernel;
  const all = runtime === 'root' ? [...system.parts, system.runtimePart] : system.parts;
  // What is in a store already needs none of the parts.
  const parts = options.rootImage !== undefined && options.app === undefined ? [] : all;
  const images = runtime === 'root' ? [] : [system.usr];
  const programs = options.root === 'nbds' ? [handshake] : [];
  const wanted = [direct, initramfsStream, ...images, ...parts.map(({ artifact }) => artifact), ...programs];
  const built = await buildSteps(stepsOf(...wanted), building, io);
  const [usr] = images;
  const image = usr && (await imageAt(built.path(usr)));
  const [program] = programs;
  const { createSecretInitramfs, serveRoot } = await import('@nodeos/netroot'); // no other start needs it
  const tree = async (): Promise<Tree> => rootTree(parts, ({ artifact }) => built.path(artifact));
  const root =
    options.rootImage === undefined ? undefined : await rootInStore(options.rootImage, options.app && tree, io);
  const closers: Closer[] = root ? [() => root.close()] : [];
  const close = <T>(work: Promise<T>): Promise<T> => closing(work, closers);
  try {
    const secured = await createSecretInitramfs(built.path(initramfsStream), program && built.path(program));
    closers.push(secured.remove);
    const served = await serveRoot({
      root: root ?? (await tree()),
      persist,
      trace,
      secret: secured.secret,
      key: secured.key,
      onEvent: ({ event, error }) => {
        if (error !== undefined) printMessage(io, `root over NBD: ${event}: ${messageOf(error)}`);
      },
    });
    closers.push(() => served.close());
    return {
      kernel: built.path(direct),
      initramfs: secured.initramfs,
      usr: image,
      kernelArgs: served.kernelArgs,
      close: () => close(Promise.resolve()),
    };
  } catch (error) {
    return close(Promise.reject<Media>(error as Error));
  }
}

/** Loaded only for a root that is in a store. */
async function rootInStore(
  reference: string,
  tree: (() => Promise<Tree>) | undefined | '',
  io: Io,
): Promise<StoredRoot> {
  const { openRoot } = await import('./store/root.js');
  return openRoot(reference, tree === '' ? undefined : tree, io);
}

/** Size of a new image for data in bytes. On disk, it takes only as much space as its contents. */
const DATA_SIZE = 8 * 2 ** 30;

/** Creates the file of `--data` at its first use. Only the owner can read it. */
export async function provideData(system: System, path: string, building: Building, io: Io): Promise<void> {
  if (await exists(path)) return;
  const built = await buildSteps(stepsOf(system.data), building, io);
  await replaceFile(path, async (temporary) => {
    await copyFile(built.path(system.data), temporary);
    await chmod(temporary, 0o600);
    await truncate(temporary, DATA_SIZE);
  });
  printMessage(io, `${path}: a new disk for what the machine keeps in /data`);
}
