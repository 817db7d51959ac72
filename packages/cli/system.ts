/** How the layers make a system: the one place that knows them all. */
import { UsageError, type Step, type Target } from '@nodeos/build';
import { init } from '@nodeos/init';
import { initramfs } from '@nodeos/initramfs';
import { kernel, LINUX, type KernelOptions } from '@nodeos/kernel';
import { glibcRuntime, muslRuntime, runtimeImage, USR, type RuntimeInfo } from '@nodeos/runtime';
import { toolchain } from '@nodeos/toolchain';
import { appFiles, appModules, readApplication } from '@nodeos/usersfs';

export type Libc = RuntimeInfo['libc'];

/** Runtimes by their C library; the first is the default. */
const RUNTIMES: Readonly<Record<Libc, (target: Target) => Step>> = {
  glibc: glibcRuntime,
  musl: (target) => muslRuntime(target, toolchain(target, LINUX)),
};

/** @throws UsageError naming the C libraries there are. */
export function libcOf(name: string | undefined): Libc {
  const libcs = Object.keys(RUNTIMES) as Libc[];
  const libc = name === undefined ? libcs[0] : libcs.find((one) => one === name);
  if (libc) return libc;
  throw new UsageError(`--libc ${name ?? ''}: expected ${libcs.join(' or ')}`);
}

export interface SystemOptions extends KernelOptions {
  /** The C library of the runtime. */
  readonly libc?: Libc;
  /** The folder of an application; without one the system is a REPL. */
  readonly app?: string;
}

/** A layer: what a user can ask to be built. */
export interface Layer {
  readonly step: Step;
  /** The files of its output that a user may want, for `--out`. */
  readonly files: readonly string[];
}

export type LayerName = 'kernel' | 'runtime' | 'usr' | 'init' | 'app' | 'initramfs' | 'initramfs-base';

/** @throws UsageError if the application's folder is not one. */
export async function systemOf(
  target: Target,
  options: SystemOptions = {},
): Promise<Partial<Record<LayerName, Layer>> & Record<Exclude<LayerName, 'app'>, Layer>> {
  const libc = options.libc ?? libcOf(undefined);
  const runtime = RUNTIMES[libc](target);
  const initStep = init(target, runtime);
  const app = options.app === undefined ? undefined : await readApplication(options.app);
  const modules = app && appModules(target, app, libc);
  const appStep = app && appFiles(target, app, modules);
  const parts = { init: initStep, ...(appStep ? { app: appStep, modules } : {}) };
  return {
    kernel: { step: kernel(target, options), files: ['kernel', 'vmlinux', 'config', 'System.map'] },
    runtime: { step: runtime, files: ['root/bin/node', 'runtime.json'] },
    usr: { step: runtimeImage(target, runtime), files: [USR] },
    init: { step: initStep, files: ['init', 'init.js', 'syscalls.node'] },
    ...(appStep ? { app: { step: appStep, files: ['nodeos.json'] } } : {}),
    initramfs: { step: initramfs(target, { ...parts, runtime }), files: ['initramfs'] },
    'initramfs-base': { step: initramfs(target, parts), files: ['initramfs-base'] },
  };
}
