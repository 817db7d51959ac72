/**
 * npm run bench: what docs/benchmarks.md says, measured in one run. Every machine runs under the same QEMU with the
 * same accelerator and one processor; the kinds take turns, so that a machine that gets slower slows all of them.
 */
import { cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Cache } from '@nodeos/engine';
import { messageOf } from '@nodeos/base';
import { chooseAccelerator, type MachineOptions } from '@nodeos/vm';
import { systemOf } from 'nodeos';
import { display } from './display.js';
import { distributionImage } from './distribution/image.js';
import { realImages } from './images.js';
import { libcs } from './libc.js';
import { erofsImages } from './erofs.js';
import { linuxfs } from './linuxfs.js';
import {
  answering,
  APP,
  board,
  bootDistribution,
  bootFloor,
  bootOurs,
  built,
  images,
  nodeInGuest,
  note,
  round,
  target,
  type Boot,
  type Context,
  type Row,
} from './machines.js';
import { median } from './measure.js';
import { media } from './media.js';
import { nbd } from './nbd.js';
import { ociImages } from './oci.js';
import { scale } from './scale.js';
import { storedImages } from './store.js';
import { streamedRoot } from './streamed.js';

async function boots(context: Context, withDistribution: boolean): Promise<Row> {
  const image = withDistribution
    ? await distributionImage({
        dir: join(new Cache().root, 'bench-distribution'),
        node: context.images.glibcNode,
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

async function sizes({ images }: Context): Promise<Row> {
  const { bzImage, kernel, system, whole, usr, node, pid1, stream } = images;
  const size = async (path: string): Promise<number> => round((await stat(path)).size / (1 << 20));
  const small = async (path: string): Promise<number> => Math.round((await stat(path)).size / (1 << 10));
  return {
    'PID 1, KiB': await small(pid1),
    'initramfs for a root over NBD, KiB': await small(stream),
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
      const { kernel, initramfsBase, usr } = await systemOf(target, { app: dir });
      await built(kernel.vmlinux, initramfsBase, usr);
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
      const { initramfsBase } = await systemOf(target, { app: dir });
      const result = await built(initramfsBase);
      const boot = await bootOurs(context, { initramfs: result.path(initramfsBase) });
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

const OPTIONS = {
  runs: { type: 'string', default: '5' },
  memory: { type: 'string', default: '256M' },
  'no-distribution': { type: 'boolean', default: false },
  record: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

interface Part {
  readonly summary: string;
  measure(context: Context, withDistribution: boolean): Promise<Row>;
}

const PARTS: Readonly<Record<string, Part>> = {
  display: { summary: 'what the display of progress costs', measure: ({ runs }) => display(runs) },
  sizes: { summary: 'bytes of what is built', measure: sizes },
  rebuilds: { summary: 'from a changed file to an answer', measure: rebuilds },
  memory: { summary: 'the smallest memory that a system answers with', measure: memories },
  libc: {
    summary: 'musl against glibc',
    measure: (context) => libcs(context, (options) => smallestMemory(context, options)),
  },
  nbd: { summary: 'the NBD server against nbdkit, qemu-nbd and a floor', measure: ({ runs }) => nbd(runs) },
  streamed: { summary: 'a root over the network', measure: ({ runs }) => streamedRoot(runs) },
  erofs: { summary: 'EROFS images against mkfs.erofs', measure: ({ runs }) => erofsImages(runs) },
  linuxfs: {
    summary: 'files of an ext4 image against a loop mount and ext2fs of npm',
    measure: ({ runs }) => linuxfs(runs),
  },
  oci: { summary: 'container images against umoci and mkfs.erofs', measure: ({ runs }) => ociImages(runs) },
  store: { summary: 'images as chunks, and starts from a store over a slow link', measure: storedImages },
  images: {
    summary: 'container images of Debian: what versions share, starts, a server of 50 machines',
    measure: ({ runs, record }) => realImages(runs, record),
  },
  scale: { summary: '10,000 starts over 100 hosts, simulated from recorded starts', measure: scale },
  media: { summary: 'boot media by BIOS and UEFI', measure: media },
  boots: { summary: 'a boot, its floor, and a distribution', measure: boots },
};

const HELP = `Usage: npm run bench -- [options] [PART…]

Measures what docs/benchmarks.md says. Without a PART, all of them.

${Object.entries(PARTS)
  .map(([name, { summary }]) => `  ${name.padEnd(18)} ${summary}`)
  .join('\n')}

  --runs N           medians of N rounds (default 5)
  --memory SIZE      memory of the machines (default 256M)
  --no-distribution  leave the distribution out of boots
  --record FILE      of images: write what the starts have read, for scale
  --json             print one line of JSON

Example:
  npm run bench -- --runs 3 media boots
`;

/** @returns undefined, with a message, if the command line is wrong */
function parsed(argv: readonly string[]) {
  try {
    const result = parseArgs({ args: [...argv], allowPositionals: true, options: OPTIONS });
    const unknown = result.positionals.find((name) => !PARTS[name]);
    if (unknown === undefined && /^[1-9]\d*$/.test(result.values.runs)) return result;
    process.stderr.write(unknown === undefined ? `--runs ${result.values.runs}\n` : `no such benchmark: ${unknown}\n`);
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
  }
  process.stderr.write(HELP);
  process.exitCode = 2;
  return undefined;
}

export async function main(argv: readonly string[]): Promise<void> {
  const command = parsed(argv);
  if (!command) return;
  const { values, positionals } = command;
  if (values.help) return console.log(HELP.trimEnd());
  const ready = await images();
  const notes = join(new Cache().root, 'accelerator.json');
  const accelerator = await chooseAccelerator({
    board,
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
    record: values.record,
  };
  const wanted = positionals.length > 0 ? positionals : Object.keys(PARTS);
  const all: Record<string, string | number> = { accelerator: accelerator.name, 'runs, medians of': context.runs };
  for (const name of wanted) {
    // A part that fails does not lose what the others have measured.
    try {
      Object.assign(all, await PARTS[name]?.measure(context, !values['no-distribution']));
    } catch (error) {
      note(`${name}: ${messageOf(error)}`);
      process.exitCode = 1;
    }
  }
  if (values.json) console.log(JSON.stringify(all));
  else
    console.log(
      ['| what | measured |', '|---|---|', ...Object.entries(all).map(([k, v]) => `| ${k} | ${v} |`)].join('\n'),
    );
}
