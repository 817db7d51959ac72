/** The machines that the benchmarks boot, and how long each takes to what. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boardOf, targetOf } from '@nodeos/targets';
import { artifact, build, plainProgress, stepsOf, type Artifact, type BuildResult } from '@nodeos/engine';
import { initramfs } from '@nodeos/initramfs';
import { basePart } from '@nodeos/rootfs';
import { imageAt, qemuArguments, runMachine, type Image, type MachineOptions } from '@nodeos/vm';
import { systemOf } from 'nodeos';
import { distributionArguments } from './distribution/boot.js';
import { floorInit, floorInitramfs } from './floor.js';
import { consoleOf, firstByte, freePort } from './measure.js';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
export const APP = join(ROOT, 'examples/hello');
export const target = targetOf('x86_64');
export const board = boardOf(target);
const qemu = board.emulator.program;
const progress = plainProgress((text) => process.stderr.write(text));
export const note = (text: string): void => void process.stderr.write(`bench: ${text}\n`);

export type Row = Readonly<Record<string, string | number>>;

export const built = (...wanted: Artifact[]): Promise<BuildResult> =>
  build(stepsOf(...wanted), { progress, jobs: availableParallelism() });

export interface Images {
  readonly kernel: string;
  /** To be booted with the image. */
  readonly system: string;
  readonly usr: Image;
  /** With the runtime in it. */
  readonly whole: string;
  readonly floor: string;
  readonly floorNode: string;
  readonly node: string;
  /** For the distribution, whose libraries are those of glibc. */
  readonly glibcNode: string;
  readonly bzImage: string;
  readonly pid1: string;
  /** For a root over the network. */
  readonly stream: string;
}

export async function images(): Promise<Images> {
  const system = await systemOf(target, { app: APP });
  const { kernel, initramfsBase, initramfs: whole, usr, initramfsStream: stream } = system;
  const pid1 = artifact(system.init, 'program', 'init');
  const [, ...application] = system.parts;
  const floor = floorInitramfs(target);
  const floorNode = initramfs(target, 'bench-floor-node', [basePart(floorInit(target)), ...application]);
  const node = artifact(system.runtime, 'program', 'root/bin/node');
  const glibcNode = artifact((await systemOf(target, { libc: 'glibc' })).runtime, 'program', 'root/bin/node');
  const result = await built(
    kernel.vmlinux,
    initramfsBase,
    whole,
    usr,
    floor,
    floorNode,
    node,
    glibcNode,
    pid1,
    stream,
  );
  return {
    kernel: result.path(kernel.vmlinux),
    bzImage: result.path(kernel.image),
    pid1: result.path(pid1),
    stream: result.path(stream),
    system: result.path(initramfsBase),
    whole: result.path(whole),
    usr: await imageAt(result.path(usr)),
    floor: result.path(floor),
    floorNode: result.path(floorNode),
    node: result.path(node),
    glibcNode: result.path(glibcNode),
  };
}

export interface Context {
  readonly images: Images;
  readonly accelerator: string;
  readonly runs: number;
  readonly memory: string;
  /** A file for what starts have read. */
  readonly record: string | undefined;
}

export function machine(context: Context, initramfsPath: string, port?: number): MachineOptions {
  return {
    board,
    accelerator: context.accelerator,
    memory: context.memory,
    cpus: 1,
    kernel: context.images.kernel,
    initramfs: initramfsPath,
    usr: context.images.usr,
    publish: port === undefined ? [] : [{ protocol: 'tcp', address: '127.0.0.1', host: port, guest: 80 }],
  };
}

export interface Boot {
  readonly kernel: number;
  readonly pid1: number;
  readonly node: number;
  readonly byte: number;
}

/** Seconds from the spawn to each stage; undefined if the machine never answers. */
export async function bootOurs(context: Context, options: Partial<MachineOptions> = {}): Promise<Boot | undefined> {
  const port = await freePort();
  const stop = new AbortController();
  const times: Record<string, number> = {};
  let kernelBefore = 0;
  const spawned = performance.now();
  const running = runMachine({
    ...machine(context, context.images.system, port),
    ...options,
    timeout: 60,
    signal: stop.signal,
    onEvent: ({ event, us }) => {
      times[event] ??= performance.now();
      if (event === 'pid1') kernelBefore = us / 1000;
    },
  }).finally(() => stop.abort());
  const [byte] = await Promise.all([
    firstByte(port, stop.signal).finally(() => stop.abort()),
    running.catch(() => undefined),
  ]);
  if (byte === undefined) return undefined;
  const since = (time = Number.NaN): number => (time - spawned) / 1000;
  return {
    kernel: since((times['pid1'] ?? 0) - kernelBefore),
    pid1: since(times['pid1']),
    node: since(times['node']),
    byte: since(byte),
  };
}

/** Seconds from the spawn to the one line of the static init. */
export async function bootFloor(context: Context): Promise<number> {
  const args = machineArguments({ ...machine(context, context.images.floor), usr: undefined });
  const { spawned, seen } = await consoleOf(qemu, args, (text) => text.includes('nodeos: floor'), 60);
  return (seen - spawned) / 1000;
}

/** Seconds that Node.js and the application take to the first byte, in a guest that runs nothing else: first and second start. */
export async function nodeInGuest(context: Context): Promise<[first: number, second: number]> {
  const args = machineArguments(machine(context, context.images.floorNode));
  const { text } = await consoleOf(qemu, args, (seen) => /nodeos: second \d+\r?\n/.test(seen), 60);
  const micros = (name: string): number => Number(new RegExp(`nodeos: ${name} (\\d+)`).exec(text)?.[1]) / 1e6;
  return [micros('first'), micros('second')];
}

function machineArguments(options: MachineOptions): string[] {
  return qemuArguments(options, { ports: {} });
}

export async function bootDistribution(
  context: Context,
  image: Parameters<typeof distributionArguments>[0],
): Promise<number> {
  const port = await freePort();
  const stop = new AbortController();
  const args = distributionArguments(image, {
    memory: '1G',
    cpus: 1,
    port,
    accelerator: context.accelerator,
    cpu: context.accelerator === 'tcg' ? 'max' : 'host',
  });
  const answer = firstByte(port, stop.signal);
  let byte: number | undefined;
  void answer.then((time) => (byte = time));
  const spawned = performance.now();
  const waiting = consoleOf(qemu, args, () => false, 180).catch(() => undefined);
  // The console says nothing about the first byte: the machine is ended when it has come.
  byte = await Promise.race([answer, waiting.then(() => undefined)]);
  stop.abort();
  if (byte === undefined) throw new Error('the distribution did not answer in 180 s');
  return (byte - spawned) / 1000;
}

export async function answering(booting: Promise<Boot | undefined>): Promise<Boot> {
  const boot = await booting;
  if (!boot) throw new Error('the system did not answer');
  return boot;
}

export const round = (value: number): number => Math.round(value * 100) / 100;
