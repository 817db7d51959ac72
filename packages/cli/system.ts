/** How the layers make a system: the one place that knows them all. */
import { UsageError } from '@nodeos/base';
import { boardOf, boardsOf, TARGETS, type Board, type Target } from '@nodeos/targets';
import { type Step } from '@nodeos/engine';
import { HANDSHAKE, init, tlsHandshake } from '@nodeos/init';
import { initramfs, ROOT, rootImage, streamInitramfs, type InitramfsParts } from '@nodeos/initramfs';
import { kernel, LINUX, type KernelOptions } from '@nodeos/kernel';
import {
  ALLOCATORS,
  glibcRuntime,
  mimalloc,
  muslRuntime,
  NODE_BUILDS,
  pinnedNode,
  releaseOf,
  runtimeImage,
  USR,
  type Allocator,
  type NodeBuild,
  type NodeRelease,
  type RuntimeInfo,
} from '@nodeos/runtime';
import { bareCompiler, crossCompiler, HOST_COMPILER, toolchainSteps, type Compiler } from '@nodeos/toolchain';
import { say, type Io, type Parsed } from './command.js';
import {
  appFiles,
  appModules,
  nativeAddon,
  nativeModules,
  readApplication,
  type Application,
  type NativeTools,
  type ReadOptions,
} from '@nodeos/usersfs';

export type Libc = RuntimeInfo['libc'];

/** What a system of one C library is made of, and with. */
interface Base {
  readonly runtime: Step;
  /** For the kernel and PID 1. */
  readonly bare: Compiler;
  /** For native code of applications. */
  readonly compiler: Compiler;
}

/** By the C library; the first is the default. */
const BASES: Readonly<Record<Libc, (target: Target, node: NodeRelease, allocator: Allocator) => Base>> = {
  musl(target, node, allocator) {
    const steps = toolchainSteps(target, LINUX);
    const compiler = crossCompiler(target, steps);
    const instead = allocator === 'mimalloc' ? mimalloc(target, compiler) : undefined;
    return { runtime: muslRuntime(target, node, compiler, instead), bare: bareCompiler(steps), compiler };
  },
  // The host's compiler will do: there is something to boot in five minutes.
  glibc: (target, node) => ({ runtime: glibcRuntime(target, node), bare: HOST_COMPILER, compiler: HOST_COMPILER }),
};

/** @throws UsageError naming the C libraries there are. */
function libcOf(name: string | undefined): Libc {
  const libcs = Object.keys(BASES) as Libc[];
  const libc = name === undefined ? libcs[0] : libcs.find((one) => one === name);
  if (libc) return libc;
  throw new UsageError(`--libc ${name ?? ''}: expected ${libcs.join(' or ')}`);
}

/** @throws UsageError naming the allocators there are, or if the C library does not go with it. */
function allocatorOf(name: string | undefined, libc: Libc): Allocator {
  const allocator = ALLOCATORS.find((one) => one === (name ?? ALLOCATORS[0]));
  if (!allocator) throw new UsageError(`--allocator ${name ?? ''}: expected ${ALLOCATORS.join(' or ')}`);
  if (name === undefined || libc === 'musl') return allocator;
  throw new UsageError(`--allocator ${name}: only with --libc musl; glibc has its own`);
}

/** @throws UsageError naming the builds there are, or if the C library or a version does not go with it. */
function buildOf(args: Parsed, libc: Libc): NodeBuild {
  const name = args.text('node-build') ?? NODE_BUILDS[0];
  const build = NODE_BUILDS.find((one) => one === name);
  if (!build) throw new UsageError(`--node-build ${name}: expected ${NODE_BUILDS.join(' or ')}`);
  if (build === 'official') return build;
  if (libc !== 'musl') throw new UsageError(`--node-build ${name}: only with --libc musl`);
  if (args.text('node') !== undefined)
    throw new UsageError(`--node-build ${name}: not with --node, it has one version`);
  return build;
}

/**
 * What `--libc`, `--allocator`, `--node` and `--node-build` say. For another Node.js than the pinned one the registry is
 * asked, once.
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
  return { libc, allocator, node: await releaseOf(target, wanted, (line) => say(io, line)) };
}

export interface SystemOptions extends KernelOptions {
  /** What it boots on. Default: the target's first board. */
  readonly board?: Board;
  /** The C library of the runtime. */
  readonly libc?: Libc;
  /** Of a runtime on musl. */
  readonly allocator?: Allocator;
  /** Default: the pinned one. */
  readonly node?: NodeRelease;
  /** The folder of an application; without one the system is a REPL. */
  readonly app?: string;
  /** Makes the lock file that an application lacks. */
  readonly makeLock?: ReadOptions['makeLock'];
  /** Is told what of the application is left out. */
  readonly say?: (line: string) => void;
}

/** A layer: what a user can ask to be built. */
export interface Layer {
  readonly step: Step;
  /** The files of its output that a user may want, for `--out`. */
  readonly files: readonly string[];
}

/** What reaches a root on the network, and what that root is made of (`rootTree` of @nodeos/initramfs). */
export interface StreamLayer extends Layer {
  readonly root: InitramfsParts & { readonly runtime: Step };
}

export interface Layers {
  readonly kernel: Layer;
  readonly runtime: Layer;
  readonly usr: Layer;
  readonly init: Layer;
  readonly app?: Layer;
  readonly initramfs: Layer;
  readonly 'initramfs-base': Layer;
  readonly 'initramfs-stream': StreamLayer;
  /** What that reaches, as an image for any server. */
  readonly root: Layer;
  /** What that needs to reach it by TLS. */
  readonly 'tls-handshake': Layer;
}
export type LayerName = keyof Layers;

/** @throws UsageError if the application's folder is not one */
export async function systemOf(target: Target, options: SystemOptions = {}): Promise<Layers> {
  const libc = options.libc ?? libcOf(undefined);
  const node = options.node ?? pinnedNode(target);
  const { runtime, bare, compiler } = BASES[libc](target, node, options.allocator ?? 'musl');
  const initStep = init(target, runtime, bare);
  const app = options.app === undefined ? undefined : await readApplication(options.app, target, options);
  for (const line of app?.notes ?? []) options.say?.(line);
  const application = app && (await applicationSteps(target, app, libc, { runtime, compiler }));
  const appStep = application?.app;
  const parts = { init: initStep, ...application };
  return {
    kernel: {
      step: kernel(target, options.board ?? boardOf(target), bare, options),
      files: ['kernel', 'vmlinux', 'config', 'System.map'],
    },
    runtime: { step: runtime, files: ['root/bin/node', 'runtime.json'] },
    usr: { step: runtimeImage(target, runtime), files: [USR] },
    init: { step: initStep, files: ['init', 'init.js', 'syscalls.node'] },
    ...(appStep ? { app: { step: appStep, files: ['nodeos.json'] } } : {}),
    initramfs: { step: initramfs(target, { ...parts, runtime }), files: ['initramfs'] },
    'initramfs-base': { step: initramfs(target, parts), files: ['initramfs-base'] },
    'initramfs-stream': {
      step: streamInitramfs(target, initStep),
      files: ['initramfs-stream'],
      root: { ...parts, runtime },
    },
    root: { step: rootImage(target, { ...parts, runtime }), files: [ROOT] },
    'tls-handshake': { step: tlsHandshake(target, compiler), files: [HANDSHAKE] },
  };
}

/** The steps that make /app. */
async function applicationSteps(
  target: Target,
  app: Application,
  libc: Libc,
  tools: NativeTools,
): Promise<{ app: Step; additions: Step[] }> {
  const modules = await appModules(target, app, libc);
  const [main] = modules;
  const natives = [main && nativeModules(target, app, main, tools), nativeAddon(target, app, main, tools)];
  return {
    app: appFiles(target, app, main, libc),
    additions: [...modules, ...natives.filter((step) => step !== undefined)],
  };
}

/** What can be built for a target that has no machine yet. */
const WITHOUT_MACHINE: readonly string[] = ['runtime', 'usr'] satisfies LayerName[];

/** @throws UsageError if one of the layers needs a system, and there is none for the target */
export function checkSystem(target: Target, layers: readonly string[]): void {
  if (boardsOf(target).length > 0) return;
  const [layer] = layers.filter((name) => !WITHOUT_MACHINE.includes(name));
  if (layer === undefined) return;
  const names = TARGETS.filter((row) => boardsOf(row).length > 0).map(({ name }) => name);
  throw new UsageError(`${layer}: there is a toolchain for ${target.name}, but no system yet`, {
    hint: `systems can be built for ${names.join(', ')}, and ${WITHOUT_MACHINE.join(', ')} for ${target.name}`,
  });
}
