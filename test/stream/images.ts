/** The images of a system whose root is on the network. */
import { join } from 'node:path';
import { build, plainProgress, targetOf, type Step } from '@nodeos/build';
import { writeErofs } from '@nodeos/fs';
import { rootTree, streamInitramfs } from '@nodeos/initramfs';
import { USR } from '@nodeos/runtime';
import { imageAt, type Image } from '@nodeos/vm';
import { systemOf } from 'nodeos';

const target = targetOf('x86_64');

export interface Streamed {
  readonly kernel: string;
  readonly initramfs: string;
  readonly usr: Image;
  /** An EROFS image of everything but the kernel. */
  readonly image: string;
  /** The same without the runtime. */
  readonly small: string;
}

/** Builds a system, and writes its root as images into a folder. */
export async function streamed(app: string, folder: string): Promise<Streamed> {
  const layers = await systemOf(target, { app });
  const part = (name: string): Step | undefined => layers['initramfs-base'].step.inputs?.[name]?.inputs?.['input'];
  const names = Object.keys(layers['initramfs-base'].step.inputs ?? {});
  const natives = names.filter((name) => name.startsWith('app-')).map(part);
  const [app_, modules] = [part('app'), part('modules')];
  const init = layers.init.step;
  const steps = { init, stream: streamInitramfs(target, init), kernel: layers.kernel.step, usr: layers.usr.step };
  const more = { runtime: layers.runtime.step, ...(app_ ? { app: app_ } : {}), ...(modules ? { modules } : {}) };
  const out = await outputs({ ...steps, ...more });
  const nativeOutputs = Object.values(await outputs(Object.fromEntries(natives.map((step, n) => [String(n), step as Step]))));
  const { init: initOutput = '', runtime, ...rest } = out;
  const root = { init: initOutput, app: rest['app'], modules: rest['modules'], natives: nativeOutputs };
  const [image, small] = [join(folder, 'root.erofs'), join(folder, 'small.erofs')];
  await writeErofs(await rootTree({ ...root, runtime: runtime === undefined ? undefined : runtime }), image);
  await writeErofs(await rootTree(root), small);
  return {
    kernel: join(out['kernel'] ?? '', 'vmlinux'),
    initramfs: join(out['stream'] ?? '', 'initramfs-stream'),
    usr: await imageAt(join(out['usr'] ?? '', USR)),
    image,
    small,
  };
}

async function outputs(steps: Readonly<Record<string, Step>>): Promise<Record<string, string>> {
  const progress = plainProgress((text) => process.stderr.write(text));
  const built = await build(Object.values(steps), { progress, jobs: 2 });
  return Object.fromEntries(Object.keys(steps).map((name, index) => [name, built[index]?.output ?? '']));
}
