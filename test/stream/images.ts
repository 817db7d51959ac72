/** The images of a system whose root is on the network. */
import { join } from 'node:path';
import { targetOf } from '@nodeos/targets';
import { build, plainProgress, type Step } from '@nodeos/engine';
import { writeErofs } from '@nodeos/fs';
import { HANDSHAKE, NBD_ATTACH, nbdAttach } from '@nodeos/init';
import { readTlsFiles, rootTree, stepsOf, writeTlsInitramfs } from '@nodeos/initramfs';
import { USR } from '@nodeos/runtime';
import { HOST_COMPILER } from '@nodeos/toolchain';
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

async function built(...steps: Step[]): Promise<string[]> {
  const progress = plainProgress((text) => process.stderr.write(text));
  return (await build(steps, { progress, jobs: 2 })).map(({ output }) => output);
}

/** The program that attaches network block devices. */
export async function attachProgram(): Promise<string> {
  const [output = ''] = await built(nbdAttach(target, HOST_COMPILER));
  return join(output, NBD_ATTACH);
}

/** Builds a system, and writes its root as images into a folder. */
export async function streamed(folderOfApp: string, folder: string): Promise<Streamed> {
  const layers = await systemOf(target, { app: folderOfApp });
  const layer = layers['initramfs-stream'];
  const { runtime, ...others } = layer.root;
  const steps = [layers.kernel.step, layer.step, layers.usr.step, runtime, ...stepsOf(others)];
  const outputs = await built(...steps);
  const [kernel = '', initramfs = '', usr = ''] = outputs;
  const output = (step: Step): string => outputs[steps.indexOf(step)] ?? '';
  const [image, small] = [join(folder, 'root.erofs'), join(folder, 'small.erofs')];
  await writeErofs(await rootTree(layer.root, output), image);
  await writeErofs(await rootTree(others, output), small);
  return {
    kernel: join(kernel, 'vmlinux'),
    initramfs: join(initramfs, layer.step.name),
    usr: await imageAt(join(usr, USR)),
    image,
    small,
  };
}

/** The same system, with what it needs for TLS in its initramfs. */
export async function withTls<S extends Pick<Streamed, 'initramfs'>>(system: S, folder: string): Promise<S> {
  const layers = await systemOf(target);
  const [program = ''] = await built(layers['tls-handshake'].step);
  const initramfs = `${folder}.initramfs`;
  await writeTlsInitramfs(system.initramfs, join(program, HANDSHAKE), await readTlsFiles(folder), initramfs);
  return { ...system, initramfs };
}
