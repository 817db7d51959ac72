/** Combines the layers into a system. This is the only place that knows all layers. */
import { UsageError } from '@nodeos/base';
import { bootLoaders, dataFilesystem, formatsFor, formatsOf, type Formatted } from '@nodeos/bootfs';
import { artifact, type Artifact, type Step } from '@nodeos/engine';
import { init, tlsHandshake } from '@nodeos/init';
import { initramfs, streamInitramfs, writeTlsInitramfs, type TlsFiles } from '@nodeos/initramfs';
import { linuxfsKernel, linuxfsVirtKernel } from '@nodeos/linuxfs-kernel';
import { kernel, LINUX, type Kernel, type KernelOptions } from '@nodeos/kernel';
import { basePart, rootImage, type Part } from '@nodeos/rootfs';
import {
  ALLOCATORS,
  compressedRuntimeImage,
  glibcRuntime,
  mimalloc,
  muslRuntime,
  NODE_BUILDS,
  pinnedNode,
  releaseOf,
  runtimeImage,
  runtimePart,
  type Allocator,
  type NodeBuild,
  type NodeRelease,
  type RuntimeInfo,
} from '@nodeos/runtime';
import { boardOf, boardsOf, TARGETS, type Board, type Target } from '@nodeos/targets';
import { bareCompiler, crossCompiler, HOST_COMPILER, toolchainSteps, type Compiler } from '@nodeos/toolchain';
import { appParts, readApplication, type ReadOptions } from '@nodeos/app';
import { printMessage, type Io, type Parsed } from './command.js';

export type Libc = RuntimeInfo['libc'];

/** The runtime and the compilers for one C library. */
interface Base {
  readonly runtime: Step;
  /** The compiler for the kernel and PID 1. */
  readonly bare: Compiler;
  /** The compiler for native code of applications. */
  readonly compiler: Compiler;
}

/** The bases by C library. The first is the default. */
const BASES: Readonly<Record<Libc, (target: Target, node: NodeRelease, allocator: Allocator) => Base>> = {
  musl(target, node, allocator) {
    const steps = toolchainSteps(target, LINUX);
    const compiler = crossCompiler(target, steps);
    const replacement = allocator === 'mimalloc' ? mimalloc(target, compiler) : undefined;
    return { runtime: muslRuntime(target, node, compiler, replacement), bare: bareCompiler(steps), compiler };
  },
  // The host's compiler is good enough, and the first boot is possible after five minutes.
  glibc: (target, node) => ({ runtime: glibcRuntime(target, node), bare: HOST_COMPILER, compiler: HOST_COMPILER }),
};

/** Parses `--libc`. @throws UsageError naming the known C libraries */
function libcOf(name: string | undefined): Libc {
  const libcs = Object.keys(BASES) as Libc[];
  const libc = name === undefined ? libcs[0] : libcs.find((candidate) => candidate === name);
  if (libc) return libc;
  throw new UsageError(`--libc ${name ?? ''}: expected ${libcs.join(' or ')}`);
}

/** Parses `--allocator`. @throws UsageError for an unknown allocator, or one that the C library does not support */
function allocatorOf(name: string | undefined, libc: Libc): Allocator {
  const allocator = ALLOCATORS.find((candidate) => candidate === (name ?? ALLOCATORS[0]));
  if (!allocator) throw new UsageError(`--allocator ${name ?? ''}: expected ${ALLOCATORS.join(' or ')}`);
  if (name === undefined || libc === 'musl') return allocator;
  throw new UsageError(`--allocator ${name}: only with --libc musl; glibc has its own`);
}

/** Parses `--node-build`. @throws UsageError for an unknown build, or one that the C library or `--node` excludes */
function buildOf(args: Parsed, libc: Libc): NodeBuild {
  const name = args.text('node-build') ?? NODE_BUILDS[0];
  const build = NODE_BUILDS.find((candidate) => candidate === name);
  if (!build) throw new UsageError(`--node-build ${name}: expected ${NODE_BUILDS.join(' or ')}`);
  if (build === 'official') return build;
  if (libc !== 'musl') throw new UsageError(`--node-build ${name}: only with --libc musl`);
  if (args.text('node') !== undefined)
    throw new UsageError(`--node-build ${name}: not with --node, it has one version`);
  return build;
}

/**
 * Evaluates `--libc`, `--allocator`, `--node` and `--node-build`. For a Node.js other than the pinned one, it asks the
 * registry once.
 */
export async function runtimeOf(
  target: Target,
  args: Parsed,
  io: Pick<Io, 'stderr'>,
): Promise<Pick<SystemOptions, 'libc' | 'allocator' | 'node'>> {
  const libc = libcOf(args.text('libc'));
  const allocator = allocatorOf(args.text('allocator'), libc);
  const build = buildOf(args, libc);
  const wanted = args.text('node');
  if (wanted === undefined) return { libc, allocator, node: pinnedNode(target, build) };
  return { libc, allocator, node: await releaseOf(target, wanted, (line) => printMessage(io, line)) };
}

export interface SystemOptions extends KernelOptions {
  /** The board that the system boots on. Default: the target's first board. */
  readonly board?: Board;
  /** The C library of the runtime. Default: musl. */
  readonly libc?: Libc;
  /** The allocator of a runtime on musl. Default: musl's own. */
  readonly allocator?: Allocator;
  /** The Node.js release. Default: the pinned one. */
  readonly node?: NodeRelease;
  /** More words for the kernel's command line of the formats, after those that the formats have. */
  readonly words?: readonly string[];
  /** The folder of an application. Without it, the system starts a REPL. */
  readonly app?: string;
  /** Creates the lock file if the application has none. */
  readonly makeLock?: ReadOptions['makeLock'];
  /** Settings of the application, in place of those of its package.json. */
  readonly settings?: ReadOptions['settings'];
  /** Called for each file of the application that is left out. */
  readonly log?: (line: string) => void;
}

/**
 * Adds the secrets of one machine to a file that the user gets. Secrets are not built by a step and never enter the
 * cache.
 */
export interface Seal {
  /** A program that is added together with the secrets. */
  readonly program: Artifact<'program'>;
  /** @param to the file to write; an existing one is replaced */
  write(file: string, program: string, secrets: TlsFiles, to: string): Promise<void>;
}

/** A part of a system that a user can ask to build. */
export interface Layer {
  readonly name: string;
  readonly summary: string;
  /** Files of one step. `--out` copies them for the user. */
  readonly artifacts: readonly [Artifact, ...Artifact[]];
  /** The copies get a folder of that name. */
  readonly folder?: string;
  readonly seal?: Seal;
}

/** The description of a system. Nothing is built yet. */
export interface System {
  readonly board: Board;
  readonly kernel: Kernel;
  readonly runtime: Step;
  readonly init: Step;
  /** The runtime as an image for /usr. */
  readonly usr: Artifact<'image'>;
  /** The complete system. */
  readonly initramfs: Artifact<'initramfs'>;
  /** The system without the runtime. */
  readonly initramfsBase: Artifact<'initramfs'>;
  /** An initramfs that only connects to a root on the network. */
  readonly initramfsStream: Artifact<'initramfs'>;
  /** That root as an image for any NBD server. */
  readonly root: Artifact<'image'>;
  /** The program that starts TLS for that root. */
  readonly handshake: Artifact<'program'>;
  /** The kernel of @nodeos/linuxfs, for hosts that are like the target. */
  readonly linuxfs: Artifact<'program'> | undefined;
  /** The same for QEMU, on hosts with the target's processor. */
  readonly linuxfsVirt: Artifact<'kernel'> | undefined;
  /** An empty filesystem for the users' data. */
  readonly data: Artifact<'image'>;
  /** What a format makes of the system. @throws UsageError for a name that is no format's */
  readonly format: (name: string) => Formatted;
  /** The formats that the application's settings ask for. */
  readonly wantedFormats: readonly string[];
  /** The parts of the root, without the runtime. */
  readonly parts: readonly Part[];
  readonly runtimePart: Part;
  readonly layers: readonly Layer[];
}

/** Describes a system. @throws UsageError if the application's folder is not an application */
export async function systemOf(target: Target, options: SystemOptions = {}): Promise<System> {
  const libc = options.libc ?? libcOf(undefined);
  const node = options.node ?? pinnedNode(target);
  const { runtime, bare, compiler } = BASES[libc](target, node, options.allocator ?? 'musl');
  const initStep = init(target, runtime, bare);
  const app = options.app === undefined ? undefined : await readApplication(options.app, target, options);
  for (const line of app?.notes ?? []) options.log?.(line);
  const application = app ? await appParts(target, app, libc, { runtime, compiler }) : [];
  const parts = [basePart(initStep), ...application];
  const allParts = [...parts, runtimePart(runtime)];
  const board = options.board ?? boardOf(target);
  const linux = kernel(target, board, bare, options);
  const usr = runtimeImage(target, runtime);
  const initramfsBase = initramfs(target, 'initramfs-base', parts);
  const loaders = bootLoaders(target, bare);
  const compressedUsr = compressedRuntimeImage(target, runtime, usr);
  const { words = [] } = options;
  const boot = { kernel: linux.image, initramfs: initramfsBase, usr, compressedUsr, loaders, board, words };
  const wholeInitramfs = initramfs(target, 'initramfs', allParts);
  const initramfsStream = streamInitramfs(target, initStep);
  const root = rootImage(target, allParts);
  const system: Omit<System, 'layers'> = {
    board,
    kernel: linux,
    runtime,
    init: initStep,
    usr,
    initramfs: wholeInitramfs,
    initramfsBase,
    data: dataFilesystem(target),
    format: formatsOf({
      ...boot,
      direct: linux.direct,
      deviceTrees: linux.deviceTrees,
      wholeInitramfs,
      initramfsStream,
      root,
      rootParts: allParts,
    }),
    wantedFormats: app?.manifest.nodeos?.formats ?? [],
    initramfsStream,
    root,
    handshake: tlsHandshake(target, compiler),
    linuxfs: libc === 'musl' && target.name === 'x86_64' ? linuxfsKernel(target, compiler) : undefined,
    linuxfsVirt: linuxfsVirtKernel(target, compiler),
    parts,
    runtimePart: runtimePart(runtime),
  };
  return { ...system, layers: layersOf(system, application[0]) };
}

/** @param app the application's own files, if there is an application */
function layersOf(system: Omit<System, 'layers'>, app: Part | undefined): Layer[] {
  const { kernel, runtime, init, handshake, linuxfs, linuxfsVirt } = system;
  const files = (step: Step, ...names: [string, ...string[]]): Layer['artifacts'] =>
    names.map((name) => artifact(step, 'file', name)) as unknown as Layer['artifacts'];
  const settings = app && files(app.artifact.step, 'nodeos.json');
  return [
    {
      name: 'kernel',
      summary: 'Linux',
      artifacts: [kernel.image, kernel.vmlinux, kernel.config, kernel.symbols],
    },
    {
      name: 'runtime',
      summary: 'Node.js and its libraries',
      artifacts: files(runtime, 'root/bin/node', 'runtime.json'),
    },
    { name: 'usr', summary: 'the runtime as an image for /usr', artifacts: [system.usr] },
    { name: 'init', summary: 'PID 1 and the init', artifacts: files(init, 'init', 'init.js', 'syscalls.node') },
    ...(settings ? [{ name: 'app', summary: "the application's files", artifacts: settings }] : []),
    { name: 'initramfs', summary: 'all of the system', artifacts: [system.initramfs] },
    { name: 'initramfs-base', summary: 'the system without the runtime', artifacts: [system.initramfsBase] },
    {
      name: 'initramfs-stream',
      summary: 'what reaches a root on the network',
      artifacts: [system.initramfsStream],
      seal: { program: handshake, write: writeTlsInitramfs },
    },
    { name: 'root', summary: 'the root filesystem as an image', artifacts: [system.root] },
    ...formatsFor(runtime.target).map(({ name }) => formatLayer(system, name)),
    { name: 'tls-handshake', summary: 'what begins TLS for a root on the network', artifacts: [handshake] },
    ...(linuxfs
      ? [{ name: 'linuxfs-kernel', summary: 'the kernel of @nodeos/linuxfs', artifacts: [linuxfs] as const }]
      : []),
    ...(linuxfsVirt
      ? [{ name: 'linuxfs-kernel-virt', summary: 'the same under QEMU', artifacts: [linuxfsVirt] as const }]
      : []),
  ];
}

/** Finds a layer by name. @throws UsageError naming the known layers */
export function layerOf({ layers }: Pick<System, 'layers'>, name: string): Layer {
  const layer = layers.find((layer) => layer.name === name);
  if (layer) return layer;
  throw new UsageError(`unknown layer "${name}"`, {
    hint: `the layers are: ${layers.map((layer) => layer.name).join(', ')}`,
  });
}

/** What a format makes of the system, as a layer. @throws UsageError for a name that is no format's */
export function formatLayer(system: Pick<System, 'format'>, name: string): Layer {
  const { format, artifacts } = system.format(name);
  return { name, summary: format.summary, artifacts, ...(format.isFolder ? { folder: format.name } : {}) };
}

/** The layers that can be built for a target without a board. */
const WITHOUT_MACHINE: readonly string[] = ['runtime', 'usr'];

/** @throws UsageError if a layer needs a board and the target has none */
export function checkSystem(target: Target, layers: readonly string[]): void {
  if (boardsOf(target).length > 0) return;
  const [layer] = layers.filter((name) => !WITHOUT_MACHINE.includes(name));
  if (layer === undefined) return;
  const names = TARGETS.filter((row) => boardsOf(row).length > 0).map(({ name }) => name);
  throw new UsageError(`${layer}: there is a toolchain for ${target.name}, but no system yet`, {
    hint: `systems can be built for ${names.join(', ')}, and ${WITHOUT_MACHINE.join(', ')} for ${target.name}`,
  });
}
