/** How the layers make a system: the one place that knows them all. */
import { TARGETS, UsageError, type Step, type Target } from '@nodeos/build';
import { HANDSHAKE, init, tlsHandshake } from '@nodeos/init';
import { initramfs, ROOT, rootImage, streamInitramfs, type InitramfsParts } from '@nodeos/initramfs';
import { kernel, LINUX, type KernelOptions } from '@nodeos/kernel';
import {
  ALLOCATORS,
  glibcRuntime,
  mimalloc,
  muslRuntime,
  runtimeImage,
  USR,
  type Allocator,
  type RuntimeInfo,
} from '@nodeos/runtime';
import { bareCompiler, crossCompiler, HOST_COMPILER, toolchainSteps, type Compiler } from '@nodeos/toolchain';
import type { Parsed } from './command.js';
import { appFiles, appModules, nativeAddon, nativeModules, readApplication } from '@nodeos/usersfs';

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
const BASES: Readonly<Record<Libc, (target: Target, allocator: Allocator) => Base>> = {
  musl(target, allocator) {
    const steps = toolchainSteps(target, LINUX);
    const compiler = crossCompiler(target, steps);
    const instead = allocator === 'mimalloc' ? mimalloc(target, compiler) : undefined;
    return { runtime: muslRuntime(target, steps.toolchain, instead), bare: bareCompiler(steps), compiler };
  },
  // The host's compiler will do: there is something to boot in five minutes.
  glibc: (target) => ({ runtime: glibcRuntime(target), bare: HOST_COMPILER, compiler: HOST_COMPILER }),
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

/** What `--libc` and `--allocator` say. */
export function libraryOf(args: Parsed): Pick<SystemOptions, 'libc' | 'allocator'> {
  const libc = libcOf(args.text('libc'));
  return { libc, allocator: allocatorOf(args.text('allocator'), libc) };
}

export interface SystemOptions extends KernelOptions {
  /** The C library of the runtime. */
  readonly libc?: Libc;
  /** Of a runtime on musl. */
  readonly allocator?: Allocator;
  /** The folder of an application; without one the system is a REPL. */
  readonly app?: string;
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

/** @throws UsageError if the application's folder is not one, or there is no system for the target. */
export async function systemOf(target: Target, options: SystemOptions = {}): Promise<Layers> {
  const libc = options.libc ?? libcOf(undefined);
  checkSystem(target);
  const { runtime, bare, compiler } = BASES[libc](target, options.allocator ?? 'musl');
  const initStep = init(target, runtime, bare);
  const app = options.app === undefined ? undefined : await readApplication(options.app);
  const modules = app && appModules(target, app, libc);
  const appStep = app && appFiles(target, app, modules);
  const tools = { runtime, compiler };
  const natives = [
    app && modules && nativeModules(target, app, modules, tools),
    app && nativeAddon(target, app, modules, tools),
  ].filter((step) => step !== undefined);
  const parts = { init: initStep, ...(appStep ? { app: appStep, modules, natives } : {}) };
  return {
    kernel: { step: kernel(target, bare, options), files: ['kernel', 'vmlinux', 'config', 'System.map'] },
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

function checkSystem(target: Target): void {
  if (Object.keys(target.machines).length > 0) return;
  const names = TARGETS.filter(({ machines }) => Object.keys(machines).length > 0).map(({ name }) => name);
  throw new UsageError(`there is a toolchain for ${target.name}, but no system yet`, {
    hint: `systems can be built for ${names.join(', ')}; see nodeos toolchain --help`,
  });
}
