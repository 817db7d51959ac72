/** Builds the images of a system whose root is on the network. */
import { join } from 'node:path';
import { targetOf } from '@nodeos/targets';
import { build, plainProgress, stepsOf, type Artifact, type BuildResult } from '@nodeos/engine';
import { writeErofs } from '@nodeos/fs';
import { nbdAttach } from '@nodeos/init';
import { readTlsFiles, writeTlsInitramfs } from '@nodeos/initramfs';
import { rootTree, type Part } from '@nodeos/rootfs';
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

function built(...wanted: Artifact[]): Promise<BuildResult> {
  const progress = plainProgress((text) => process.stderr.write(text));
  return build(stepsOf(...wanted), { progress, jobs: 2 });
}

/** Builds the program that attaches network block devices. */
export async function attachProgram(): Promise<string> {
  const program = nbdAttach(target, HOST_COMPILER);
  return (await built(program)).path(program);
}

/** Builds a system and writes its root as images into a folder. */
export async function streamed(folderOfApp: string, folder: string): Promise<Streamed> {
  const { kernel, initramfsStream, usr, parts, runtimePart } = await systemOf(target, { app: folderOfApp });
  const allParts = [...parts, runtimePart];
  const result = await built(kernel.vmlinux, initramfsStream, usr, ...allParts.map((part) => part.artifact));
  const pathOf = (part: Part): string => result.path(part.artifact);
  const [image, small] = [join(folder, 'root.erofs'), join(folder, 'small.erofs')];
  await writeErofs(await rootTree(allParts, pathOf), image);
  await writeErofs(await rootTree(parts, pathOf), small);
  return {
    kernel: result.path(kernel.vmlinux),
    initramfs: result.path(initramfsStream),
    usr: await imageAt(result.path(usr)),
    image,
    small,
  };
}

/** Adds the TLS files to the system's initramfs. */
export async function withTls<S extends Pick<Streamed, 'initramfs'>>(system: S, folder: string): Promise<S> {
  const { handshake } = await systemOf(target);
  const initramfs = `${folder}.initramfs`;
  const program = (await built(handshake)).path(handshake);
  await writeTlsInitramfs(system.initramfs, program, await readTlsFiles(folder), initramfs);
  return { ...system, initramfs };
}
