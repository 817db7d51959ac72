/**
 * npm run bench: what docs/benchmarks.md says, measured in one run. Every machine runs under the same QEMU with the
 * same accelerator and one processor; the kinds take turns, so that a machine that gets slower slows all of them.
 */
import { cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { availableParallelism } from 'node:os';
import { build, Cache, plainProgress, targetOf, type Step } from '@nodeos/build';
import { initramfs } from '@nodeos/initramfs';
import { chooseAccelerator, imageAt, qemuArguments, runMachine, type Image, type MachineOptions } from '@nodeos/vm';
import { USR } from '@nodeos/runtime';
import { systemOf } from 'nodeos';
import { distributionArguments } from './distribution/boot.js';
import { distributionImage } from './distribution/image.js';
import { floorInit, floorInitramfs } from './floor.js';
import { consoleOf, firstByte, freePort, median } from './measure.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const APP = join(ROOT, 'examples/hello');
const target = targetOf('x86_64');
const progress = plainProgress((text) => process.stderr.write(text));
const note = (text: string): void => void process.stderr.write(`bench: ${text}\n`);

type Row = Readonly<Record<string, string | number>>;

async function built(...steps: Step[]): Promise<string[]> {
  return (await build(steps, { progress, jobs: availableParallelism() })).map(({ output }) => output);
}

interface Images {
  readonly kernel: string;
  /** To be booted with the image. */
  readonly system: string;
  readonly usr: Image;
  /** With the runtime in it. */
  readonly whole: string;
  readonly floor: string;
  readonly floorNode: string;
  readonly node: string;
  readonly bzImage: string;
}

async function images(): Promise<Images> {
  const layers = await systemOf(target, { app: APP });
  const bare = initramfs(target, {
    init: floorInit(target),
    app: layers.app?.step ?? layers.init.step,
  });
  const [kernel = '', system = '', whole = '', usr = '', floor = '', floorNode = '', runtime = ''] = await built(
    layers.kernel.step,
    layers['initramfs-base'].step,
    layers.initramfs.step,
    layers.usr.step,
    floorInitramfs(target),
    bare,
    layers.runtime.step,
  );
  return {
    kernel: join(kernel, 'vmlinux'),
    bzImage: join(kernel, 'kernel'),
    system: join(system, 'initramfs-base'),
    whole: join(whole, 'initramfs'),
    usr: await imageAt(join(usr, USR)),
    floor: join(floor, 'initramfs'),
    floorNode: join(floorNode, 'initramfs-base'),
    node: join(runtime, 'root/bin/node'),
  };
}

interface Context {
  readonly images: Images;
  readonly accelerator: string;
  readonly runs: number;
  readonly memory: string;
}

function machine(context: Context, initramfsPath: string, port?: number): MachineOptions {
  return {
    target,
    machine: 'q35',
    accelerator: context.accelerator,
    memory: context.memory,
    cpus: 1,
    kernel: context.images.kernel,
    initramfs: initramfsPath,
    usr: context.images.usr,
    publish: port === undefined ? [] : [{ protocol: 'tcp', address: '127.0.0.1', host: port, guest: 80 }],
  };
}

interface Boot {
  readonly kernel: number;
  readonly pid1: number;
  readonly node: number;
  readonly byte: number;
}

/** Seconds from the spawn to each stage; undefined if the machine never answers. */
async function bootOurs(context: Context, options: Partial<MachineOptions> = {}): Promise<Boot | undefined> {
  const port = await freePort();
  const stop = new AbortController();
  const at: Record<string, number> = {};
  let kernelBefore = 0;
  const spawned = performance.now();
  const running = runMachine({
    ...machine(context, context.images.system, port),
    ...options,
    timeout: 60,
    signal: stop.signal,
    onEvent: ({ event, us }) => {
      at[event] ??= performance.now();
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
    kernel: since((at['pid1'] ?? 0) - kernelBefore),
    pid1: since(at['pid1']),
    node: since(at['node']),
    byte: since(byte),
  };
}

/** Seconds from the spawn to the one line of the static init. */
async function bootFloor(context: Context): Promise<number> {
  const args = machineArguments({ ...machine(context, context.images.floor), usr: undefined });
  const { spawned, seen } = await consoleOf(target.qemu, args, (text) => text.includes('nodeos: floor'), 60);
  return (seen - spawned) / 1000;
}

/** Seconds that Node.js and the application take to the first byte, in a guest that runs nothing else: first and second start. */
async function nodeInGuest(context: Context): Promise<[first: number, second: number]> {
  const args = machineArguments(machine(context, context.images.floorNode));
  const { text } = await consoleOf(target.qemu, args, (seen) => /nodeos: second \d+\r?\n/.test(seen), 60);
  const micros = (name: string): number => Number(new RegExp(`nodeos: ${name} (\\d+)`).exec(text)?.[1]) / 1e6;
  return [micros('first'), micros('second')];
}

function machineArguments(options: MachineOptions): string[] {
  return qemuArguments(options, { ports: {} });
}

async function bootDistribution(context: Context, image: Parameters<typeof distributionArguments>[0]): Promise<number> {
  const port = await freePort();
  const stop = new AbortController();
  const args = distributionArguments(image, {
    memory: '1G',
    cpus: 1,
    port,
    accelerator: context.accelerator,
    cpu: context.accelerator === 'tcg' ? 'max' : 'host',
  });
  const asked = firstByte(port, stop.signal);
  let byte: number | undefined;
  void asked.then((time) => (byte = time));
  const spawned = performance.now();
  const waiting = consoleOf(target.qemu, args, () => false, 180).catch(() => undefined);
  // The console says nothing about the first byte: the machine is ended when it has come.
  byte = await Promise.race([asked, waiting.then(() => undefined)]);
  stop.abort();
  if (byte === undefined) throw new Error('the distribution did not answer in 180 s');
  return (byte - spawned) / 1000;
}

async function answering(booting: Promise<Boot | undefined>): Promise<Boot> {
  const boot = await booting;
  if (!boot) throw new Error('the system did not answer');
  return boot;
}

async function boots(context: Context, withDistribution: boolean): Promise<Row> {
  const image = withDistribution
    ? await distributionImage({
        dir: join(new Cache().root, 'bench-distribution'),
        node: context.images.node,
        app: APP,
        progress: note,
      })
    : undefined;
  const ours: Boot[] = [];
  const floor: number[] = [];
  const first: number[] = [];
  const second: number[] = [];
  const unpacked: number[] = [];
  const distribution: number[] = [];
  const whole = { initramfs: context.images.whole, usr: undefined };
  const kinds = [
    async () => void ours.push(await answering(bootOurs(context))),
    async () => void unpacked.push((await answering(bootOurs(context, whole))).byte),
    async () => void floor.push(await bootFloor(context)),
    async () => {
      const [a, b] = await nodeInGuest(context);
      first.push(a);
      second.push(b);
    },
    ...(image ? [async () => void distribution.push(await bootDistribution(context, image))] : []),
  ];
  for (let run = 0; run < context.runs; run++) {
    note(`boots, round ${run + 1} of ${context.runs}`);
    // Another one first each time: a host is slower after a long load.
    for (let turn = 0; turn < kinds.length; turn++) await kinds[(run + turn) % kinds.length]?.();
  }
  const byte = median(ours.map((boot) => boot.byte));
  const floorTotal = median(floor) + median(first);
  return {
    'spawn to kernel, s': round(median(ours.map((boot) => boot.kernel))),
    'spawn to PID 1, s': round(median(ours.map((boot) => boot.pid1))),
    "spawn to Node.js's first line, s": round(median(ours.map((boot) => boot.node))),
    'spawn to first HTTP byte, s': round(byte),
    'the same with --runtime initramfs, s': round(median(unpacked)),
    'floor: static init, s': round(median(floor)),
    'floor: Node.js, first start in a guest, s': round(median(first)),
    'floor: Node.js, second start in the same guest, s': round(median(second)),
    'boot / floor (first start)': round(byte / floorTotal),
    'boot / floor (second start)': round(byte / (median(floor) + median(second))),
    ...(image
      ? {
          'distribution + systemd, s': round(median(distribution)),
          'distribution / boot': round(median(distribution) / byte),
        }
      : {}),
  };
}

/** The smallest memory, in steps of 8 MiB, with which a system still answers. */
async function smallestMemory(context: Context, options: Partial<MachineOptions> = {}): Promise<number> {
  let [low, high] = [40, 256];
  while (high - low > 8) {
    const middle = ((low + high) >> 4) << 3;
    const works = await bootOurs(context, { ...options, memory: `${middle}M` });
    note(`${middle} MiB: ${works ? 'answers' : 'does not answer'}`);
    if (works) high = middle;
    else low = middle;
  }
  return high;
}

async function memories(context: Context): Promise<Row> {
  const whole = { initramfs: context.images.whole, usr: undefined };
  return {
    'smallest --memory, MiB': await smallestMemory(context),
    'smallest --memory with --runtime initramfs, MiB': await smallestMemory(context, whole),
  };
}

async function sizes({ images: { bzImage, kernel, system, whole, usr, node } }: Context): Promise<Row> {
  const size = async (path: string): Promise<number> => round((await stat(path)).size / (1 << 20));
  return {
    'kernel image (bzImage), MiB': await size(bzImage),
    'kernel image (vmlinux, for QEMU), MiB': await size(kernel),
    'initramfs with the application, MiB': await size(whole),
    'initramfs without the runtime, MiB': await size(system),
    'image of the runtime, MiB': round(usr.size / (1 << 20)),
    'node binary in it, MiB': await size(node),
  };
}

async function rebuilds(context: Context): Promise<Row> {
  const dir = await mkdtemp(join(tmpdir(), 'nodeos-bench-'));
  try {
    await cp(APP, dir, { recursive: true });
    const timed = async (): Promise<number> => {
      const started = performance.now();
      const layers = await systemOf(target, { app: dir });
      await built(layers.kernel.step, layers['initramfs-base'].step, layers.usr.step);
      return (performance.now() - started) / 1000;
    };
    await timed();
    const nothing: number[] = [];
    const changed: number[] = [];
    const answered: number[] = [];
    for (let run = 1; run <= context.runs; run++) {
      nothing.push(await timed());
      await writeFile(join(dir, 'server.js'), `${await readFile(join(APP, 'server.js'), 'utf8')}// ${Date.now()}\n`);
      const image = await timed();
      changed.push(image);
      const layers = await systemOf(target, { app: dir });
      const [output = ''] = await built(layers['initramfs-base'].step);
      const boot = await bootOurs(context, { initramfs: join(output, 'initramfs-base') });
      answered.push(image + (boot?.byte ?? Number.NaN));
    }
    return {
      'build with nothing to do, s': round(median(nothing)),
      'changed file to image, s': round(median(changed)),
      'changed file to first HTTP byte, s': round(median(answered)),
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const round = (value: number): number => Math.round(value * 100) / 100;

export async function main(argv: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      runs: { type: 'string', default: '5' },
      memory: { type: 'string', default: '256M' },
      'no-distribution': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const ready = await images();
  const notes = join(new Cache().root, 'accelerator.json');
  const accelerator = await chooseAccelerator({
    target,
    machine: 'q35',
    kernel: ready.kernel,
    initramfs: ready.system,
    notes,
  });
  note(`accelerator: ${accelerator.name}${accelerator.reason === undefined ? '' : ` (${accelerator.reason})`}`);
  const context: Context = {
    images: ready,
    accelerator: accelerator.name,
    runs: Number(values.runs),
    memory: values.memory,
  };
  const parts: Record<string, () => Promise<Row>> = {
    sizes: () => sizes(context),
    rebuilds: () => rebuilds(context),
    memory: () => memories(context),
    boots: () => boots(context, !values['no-distribution']),
  };
  const wanted = positionals.length > 0 ? positionals : Object.keys(parts);
  const all: Record<string, string | number> = { accelerator: accelerator.name, 'runs, medians of': context.runs };
  for (const name of wanted) {
    const part = parts[name];
    if (!part) throw new Error(`no such benchmark: ${name}; there are ${Object.keys(parts).join(', ')}`);
    Object.assign(all, await part());
  }
  if (values.json) console.log(JSON.stringify(all));
  else
    console.log(
      ['| what | measured |', '|---|---|', ...Object.entries(all).map(([k, v]) => `| ${k} | ${v} |`)].join('\n'),
    );
}
