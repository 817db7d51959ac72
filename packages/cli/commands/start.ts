/** nodeos start: boots an application, a REPL or a piece of code in QEMU. */
import { join, resolve } from 'node:path';
import { InterruptedError, NodeosError, UsageError, visibleJson } from '@nodeos/base';
import { PORTS, word, type ContainerConfig, type DevConfig, type EventName, type GuestEvent } from '@nodeos/contract';
import { BOARDS, DEFAULT_TARGET, targetOf, type Board, type Target } from '@nodeos/targets';
import { Cache } from '@nodeos/engine';
import {
  checkFree,
  chooseAccelerator,
  DRIVE_NAMES,
  FIRMWARE_NAMES,
  hasOwnSandbox,
  hasPorts,
  findSandboxProblem,
  mebibytesOf,
  parsePublish,
  runMachine,
  type MachineResult,
  type Publish,
  type RunMachineOptions,
} from '@nodeos/vm';
import { announcer, webOf } from '../address.js';
import { buildingOf, BUILD_OPTIONS, systemFor, type Building } from '../building.js';
import { boardFor, checkPorts } from '../boards.js';
import { printMessage, type Command, type Io, type Unlisted } from '../command.js';
import { cardsOf } from '../config/cards.js';
import { CONTAINER_MEMORY, DEFAULT_CPUS, DEFAULT_MEMORY, DEFAULT_PUBLISH } from '../config/schema.js';
import { settle, settleOptions, type Settled } from '../config/settle.js';
import type { Changes } from '../container/changes.js';
import { checkContainerOptions, CONTAINER_OPTIONS, isImage } from '../container/options.js';
import { sinkOf } from '../output.js';
import {
  BOOTABLE,
  mediaFor,
  mediaOf,
  provideData,
  ROOTS,
  RUNTIMES,
  STORE,
  type Media,
  type MediaOptions,
} from '../images.js';
import { checkMemory } from '../memory.js';
import { checkProgram, withInstalled } from '../missing-tools.js';
import { checkSystem } from '../system.js';

/**
 * Failures of the application in a row before the machine ends. A developer wants to see the first error, not a loop.
 */
const ATTEMPTS = 3;
/** The first event of the user's own code. */
const USER_EVENTS: ReadonlySet<EventName> = new Set<EventName>(['app', 'container', 'exec', 'repl']);
/**
 * Exit statuses of a process that was aborted (134: V8 out of memory) or killed (137: kernel out of memory). The
 * console then explains why.
 */
const KILLED = [134, 137];
/** Minimum memory in MiB. With less, the kernel ends early, sometimes without a message. */
const SMALLEST = 48;
const NEWLINE = 10;
/** The same exit status as timeout(1). */
const TIMED_OUT = 124;

export const startCommand: Unlisted<Command> = {
  operands: '[APP|IMAGE] [-- ARGUMENTS]',
  options: {
    memory: {
      type: 'string',
      short: 'm',
      value: 'SIZE',
      help: 'memory of the machine, as 512M or 1G (default 256M; 512M for an image)',
    },
    cpus: { type: 'string', value: 'N', help: 'processors of the machine (default 1)' },
    publish: {
      type: 'string',
      short: 'p',
      multiple: true,
      value: 'HOST:GUEST',
      help: 'forward a port of the host, as [ADDRESS:]HOST:GUEST[/udp] (default 8080:80 for an application, the exposed ports of an image)',
    },
    env: { type: 'string', multiple: true, value: 'NAME=VALUE', help: "a variable of the program's; again for more" },
    machine: {
      type: 'string',
      value: BOARDS.map(({ name }) => name).join('|'),
      help: "the machine (default: the target's first)",
    },
    runtime: {
      type: 'string',
      value: RUNTIMES.join('|'),
      help: 'where the guest finds Node.js: on a disk, mapped in place (default), unpacked from the initramfs, or (with --root nbd) in the root',
    },
    root: {
      type: 'string',
      value: `${ROOTS.join('|')}|${STORE}STORE:NAME`,
      help: 'serve the root filesystem to the machine over NBD (nbds: by TLS), instead of unpacking it into its memory; of a store: that image, after APP was pushed there',
    },
    format: {
      type: 'string',
      value: BOOTABLE.map(({ name }) => name).join('|'),
      help: 'boot from an image of that format, by the firmware, as another machine would',
    },
    firmware: {
      type: 'string',
      value: FIRMWARE_NAMES.join('|'),
      help: 'with --format: what starts it (default: what the machine has)',
    },
    drive: {
      type: 'string',
      value: 'DRIVE',
      help: `with --format: ${DRIVE_NAMES.filter((name) => name !== 'card').join(', ')} (default virtio; cdrom for iso, usb for usb)`,
    },
    data: {
      type: 'string',
      value: 'FILE',
      help: 'keep what the machine writes to /data in FILE, a disk made at first',
    },
    persist: {
      type: 'string',
      value: 'FILE',
      help: 'with --root nbd, or of an image: keep what the machine changes in FILE',
    },
    trace: { type: 'string', value: 'FILE', help: 'with --root nbd: who reads what when, for nodeos nbd plot' },
    exec: { type: 'string', short: 'e', value: 'CODE', help: 'run CODE in the guest, with its output and exit status' },
    timeout: { type: 'string', value: 'S', help: 'end the machine after S seconds; exit status 124' },
    'boot-timeout': {
      type: 'string',
      value: 'S',
      help: 'give up a guest without a sign of life for S seconds (default 60)',
    },
    'no-network': { type: 'boolean', help: 'a machine without a network card' },
    restrict: {
      type: 'boolean',
      help: 'the guest reaches neither this host nor the network; published ports still reach the guest',
    },
    events: { type: 'boolean', help: "the guest's boot events as JSON lines on standard output" },
    qemu: {
      type: 'string',
      multiple: true,
      value: 'ARGUMENT',
      help: "an argument of QEMU's, as --qemu=-s; again for more. Without an image, they can be behind --",
    },
    ...CONTAINER_OPTIONS,
    ...BUILD_OPTIONS,
  },
  examples: [
    ['nodeos start', 'a REPL on the console of a system with nothing but Node.js'],
    ['nodeos start examples/fastify', 'a web server: http://127.0.0.1:8080'],
    ['nodeos start . --memory 512M --publish 3000:80', 'the application of this folder on port 3000'],
    ["nodeos start --exec 'console.log(os.release())'", 'one line of code, and its exit status'],
    ['nodeos start . --data data.img', 'with a disk for /data, which is there again the next time'],
    ['nodeos start . --format iso --firmware uefi', 'as a PC boots it from a CD'],
    ['nodeos start . --root nbd --persist data.ext4', 'a root that is streamed, and remembers its changes'],
    ['nodeos start . -- -drive file=data.img,if=virtio,format=raw', 'with a disk: what follows -- is for QEMU'],
    ['nodeos start docker://debian:12', "a container's image: its shell, on this terminal"],
    ['nodeos start docker://redis --persist redis.ext4', 'a server on the ports that it exposes; it keeps its changes'],
    ['nodeos start oci:layout:app --env DEBUG=1 -- ls -l /', "what follows -- replaces the image's command"],
  ],
  async run(args, io) {
    const [operand, ...more] = args.operands;
    const image = isImage(operand) ? operand : undefined;
    if (more.length > 0)
      throw new UsageError(
        `nodeos start takes one application or image, not also ${more.join(' ')}`,
        image === undefined ? {} : { hint: `a command comes after --: nodeos start ${image} -- ${more.join(' ')}` },
      );
    checkContainerOptions(operand, args);
    if (image === undefined) return boot(await settle(operand, args, io), io);
    return boot(settleOptions(args, io), io, { image });
  },
};

/** What is not of an application alone. */
export interface Extras extends Pick<RunMachineOptions, 'share' | 'control'> {
  /** For `nodeos dev`. */
  readonly dev?: DevConfig;
  /** More ports. */
  readonly publish?: readonly Publish[];
  /** The name of a container's image, which the machine starts. */
  readonly image?: string;
}

/** Builds a system, and runs it in a machine to its end. @returns the exit status */
export async function boot(settled: Settled, io: Io, extras: Extras = {}): Promise<number> {
  const { image, ...more } = extras;
  const own = settingsOf(settled, image);
  await withInstalled(io, () => checkProgram(own.board.emulator.program));
  const container =
    image === undefined
      ? undefined
      : await (await import('../container/open.js')).openContainer(image, own.target, settled.args, own.env, io);
  const exposed = own.publish.length > 0 ? [] : (container?.publish ?? []);
  const settings = { ...own, ...more, publish: [...own.publish, ...exposed, ...(more.publish ?? [])] };
  // A root over the network is reached by QEMU's own network, before the init sets up anything.
  const cards = settings.root === 'initramfs' ? cardsOf(settled.values.network) : [{}];
  await checkFree(settings.publish);
  const { target, board } = settings;
  const system = await systemFor(target, settled, io, { board });
  if (settings.data !== undefined) await provideData(system, settings.data, settings, io);
  const media = await mediaFor(system, settings, settings, io);
  let changes: Changes | undefined;
  try {
    if (container && settings.persist !== undefined)
      changes = await (await import('../container/changes.js')).openChanges(settings.persist);
    const { kernelArgs, kernel, initramfs, usr, medium } = media;
    const paths = { kernel, initramfs, usr };
    await checkMemory(settings.memory, initramfs);
    const notes = join(new Cache().root, 'accelerator.json');
    const accelerator = await chooseAccelerator({ board, notes, ...paths });
    if (accelerator.reason !== undefined) printMessage(io, `software emulation: ${accelerator.reason}`);
    const sandboxProblem = hasOwnSandbox(settings.extra) ? undefined : await findSandboxProblem({ board, notes });
    if (sandboxProblem !== undefined)
      printMessage(io, `${board.emulator.program} runs without a sandbox: ${sandboxProblem}`);
    io.signal.throwIfAborted();
    const append = [...kernelArgs, ...settings.append];
    return await run(
      {
        ...settings,
        ...paths,
        cards,
        medium,
        append,
        ...(container && { container: container.image, process: container.process }),
        changes: changes?.path,
        accelerator: accelerator.name,
        sandbox: sandboxProblem === undefined,
      },
      io,
    );
  } finally {
    await changes?.close();
    await media.close();
  }
}

function variableOf(text: string): [name: string, value: string] {
  const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new UsageError(`--env ${text}: expected NAME=VALUE`);
  return [name, value];
}

interface Settings extends MediaOptions, Building {
  readonly target: Target;
  readonly app: string | undefined;
  readonly board: Board;
  readonly memory: string;
  readonly cpus: number;
  readonly publish: ReturnType<typeof parsePublish>[];
  readonly append: readonly string[];
  /** The path of a disk for the users' data. */
  readonly data: string | undefined;
  readonly exec: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly timeout: number | undefined;
  readonly bootTimeout: number;
  readonly noNetwork: boolean;
  readonly restrict: boolean;
  readonly events: boolean;
  /** Arguments for QEMU. */
  readonly extra: readonly string[];
}

function settingsOf(
  { app, args, projectKeys }: Pick<Settled, 'app' | 'args' | 'projectKeys'>,
  image: string | undefined,
): Settings {
  const target = targetOf(args.text('target') ?? DEFAULT_TARGET);
  checkSystem(target, ['kernel']);
  const board = boardFor(target, args);
  const usual = image === undefined ? DEFAULT_MEMORY : CONTAINER_MEMORY;
  const memory = args.text('memory') ?? board.emulator.fixed?.memory ?? usual;
  if (!/^[1-9]\d*[MG]$/.test(memory)) throw new UsageError(`--memory ${memory}: expected a size such as 256M or 1G`);
  if (mebibytesOf(memory) < SMALLEST)
    throw new UsageError(`--memory ${memory}: no system starts with less than ${SMALLEST}M`);
  const exec = args.text('exec');
  checkPorts(board, args);
  const file = args.text('data');
  const data = file === undefined ? undefined : resolve(file);
  const isApp = app !== undefined && exec === undefined;
  const publish = args.texts('publish').map(parsePublish);
  const timeout = args.number('timeout', 1);
  return {
    target,
    board,
    app,
    memory,
    cpus: args.number('cpus', 1) ?? board.emulator.fixed?.cpus ?? DEFAULT_CPUS,
    publish: publish.length > 0 || !isApp || args.flag('no-network') ? publish : [parsePublish(DEFAULT_PUBLISH)],
    append: [word('attempts', ATTEMPTS), args.text('append') ?? ''],
    ...mediaOf(args, board, { isContainer: image !== undefined }),
    data,
    exec,
    env: Object.fromEntries(args.texts('env').map(variableOf)),
    timeout,
    bootTimeout: args.number('boot-timeout', 1) ?? 60,
    noNetwork: args.flag('no-network'),
    restrict: args.flag('restrict'),
    events: args.flag('events'),
    extra: [...args.texts('qemu'), ...(image === undefined ? args.passthrough : [])],
    ...buildingOf({ args, projectKeys }),
  };
}

type Machine = Settings &
  Pick<Media, 'kernel' | 'initramfs' | 'usr' | 'medium'> &
  Pick<RunMachineOptions, 'accelerator' | 'sandbox' | 'cards' | 'share' | 'control' | 'container' | 'changes'> &
  Pick<Extras, 'dev'> & { readonly process?: ContainerConfig };

async function run(machine: Machine, io: Io): Promise<number> {
  const { exec, app, process } = machine;
  const terminal = process ? process.terminal : exec === undefined && app === undefined;
  const { timeout, ...options } = machine;
  const sink = sinkOf(io.stdout, io.signal);
  let isWithinLine = false;
  const write = (chunk: Buffer): unknown => {
    isWithinLine = chunk.at(-1) !== NEWLINE;
    return sink(chunk);
  };
  // The guest's output arrives in pieces, so an event may first need a line feed.
  const printEvent = (event: GuestEvent): unknown =>
    write(Buffer.from(`${isWithinLine ? '\n' : ''}${visibleJson(event)}\n`));
  const web = app === undefined ? undefined : webOf(machine.publish);
  const announced = announcer(web, io);
  const result = await runMachine({
    ...options,
    awaitPort: web?.guest,
    ...(timeout === undefined ? {} : { timeout }),
    terminal,
    settings: {
      ...(exec === undefined ? {} : { exec }),
      env: machine.env,
      ...(machine.dev ? { dev: machine.dev } : {}),
      ...(process && { container: process }),
      ...(io.stdout.columns === undefined ? {} : { columns: io.stdout.columns, rows: io.stdout.rows }),
    },
    ports: exec === undefined ? {} : { [PORTS.stdout]: write, [PORTS.stderr]: sinkOf(io.stderr, io.signal) },
    // With --exec, the console would mix with the code's output. A failure still shows the console's last lines.
    onConsole: (chunk) => (exec === undefined ? write(chunk) : undefined),
    onEvent: (event) => {
      if (machine.events) printEvent(event);
      announced.onEvent(event);
      if (event.event === 'container') printPorts(machine, io);
    },
    signal: io.signal,
    kill: io.kill,
  }).finally(() => announced.close());
  return statusOf(result, machine, io);
}

/** A container listens when it wants to, and where it wants to: its ports are named when it starts. */
function printPorts({ publish }: Machine, io: Io): void {
  for (const { address, host, guest, protocol } of publish)
    printMessage(io, `the container's ${protocol} port ${guest} is ${address}:${host} (Ctrl-C to power off)`);
}

const hintOf = (hint: string | undefined): { hint?: string } => (hint === undefined ? {} : { hint });

function statusOf(result: MachineResult, { board, timeout, app, exec }: Machine, io: Io): number {
  if (result.reason === 'interrupted') throw io.signal.reason ?? new InterruptedError();
  if (result.reason === 'timeout') {
    printMessage(io, `ended after ${timeout ?? 0} s (--timeout)`);
    return TIMED_OUT;
  }
  const { status, lines, trouble } = result;
  if (!hasPorts(board)) return 0; // it tells no status
  const hint = hintOf(trouble?.hint);
  if (status === undefined || !result.events.some(({ event }) => USER_EVENTS.has(event))) {
    throw new NodeosError(trouble?.cause ?? 'the guest ended before anything of the user ran', { lines, ...hint });
  }
  const killed = KILLED.includes(status);
  if (exec === undefined && app !== undefined && status !== 0) {
    const gaveUp = result.events.find((event) => event.event === 'gave-up');
    const times = gaveUp ? `, ${gaveUp.failures} times in a row` : '';
    throw new NodeosError(`${app} ended with status ${status}${times}`, {
      lines,
      ...hintOf((killed ? trouble?.hint : undefined) ?? result.advice),
    });
  }
  if (killed && trouble) printMessage(io, [trouble.cause, trouble.hint].filter(Boolean).join('; '));
  return status;
}
