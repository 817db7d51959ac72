/** How the layers make a system: the one place that knows them all. */
import type { Step, Target } from '@nodeos/build';
import { init } from '@nodeos/init';
import { initramfs } from '@nodeos/initramfs';
import { kernel, type KernelOptions } from '@nodeos/kernel';
import { glibcRuntime, runtimeImage, USR } from '@nodeos/runtime';
import { appFiles, appModules, readApplication } from '@nodeos/usersfs';

export interface SystemOptions extends KernelOptions {
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
  const runtime = glibcRuntime(target);
  const initStep = init(target, runtime);
  const app = options.app === undefined ? undefined : await readApplication(options.app);
  const modules = app && appModules(target, app, 'glibc');
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
