/**
 * Runs a virtual machine: starts QEMU, follows the guest's console and events, and reports the outcome. All its files
 * on the host (sockets, settings) are in one temporary folder, which is removed at the end.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import {
  codeOf,
  LineTail,
  MissingProgramError,
  NodeosError,
  temporaryFolder,
  trackGroup,
  withParentDeathSignal,
} from '@nodeos/base';
import { PORTS, type GuestEvent, type RunConfig } from '@nodeos/contract';
import { adviceIn } from './advice.js';
import { canLendOutput, consolePipe, type ConsolePipe } from './console.js';
import { eventParser, listenPort, forward, type Port, type Sink } from './events.js';
import { checkFree } from './ports.js';
import { hasPorts, qemuArguments, type Connections, type Image, type MachineOptions } from './qemu.js';
import { troubleIn, type Trouble } from './trouble.js';

export interface RunMachineOptions extends MachineOptions {
  /** Settings for the guest's init, such as code to run and its environment. */
  readonly settings?: RunConfig;
  /** Connects the console to the caller's terminal. */
  readonly terminal?: boolean;
  /** Gets what the console shows, unless QEMU itself writes that to the caller's standard output, for `terminal`. */
  readonly onConsole?: Sink;
  readonly onEvent?: (event: GuestEvent) => void;
  /** Sinks for additional ports, by name. */
  readonly ports?: Readonly<Record<string, Sink>>;
  /** A TCP port of the guest. The event `listening` tells when the application can be reached there. */
  readonly awaitPort?: number | undefined;
  /** The port for `nodeos dev`: what the guest says, and a function that sends to it, which is passed on at the start. */
  readonly control?: { readonly onData: Sink; readonly onOpen: (send: (text: string) => void) => void };
  /** Seconds after which the machine is powered off. Default: never. */
  readonly timeout?: number;
  /** Seconds to wait for a sign of life from the guest's PID 1 before the machine is killed. Default: 60. */
  readonly bootTimeout?: number;
  /** Aborting `signal` powers the machine off in an orderly way. Aborting `kill` ends it at once. */
  readonly signal?: AbortSignal;
  readonly kill?: AbortSignal;
}

export interface MachineResult {
  /** All events, in order. */
  readonly events: readonly GuestEvent[];
  /**
   * Exit status of the application or code: 0 to 255, or 128 + the signal. Undefined if it never ran or has not ended.
   */
  readonly status: number | undefined;
  /** The last lines of the console. */
  readonly lines: readonly string[];
  /** The problem that the console reports, if any. */
  readonly trouble?: Trouble | undefined;
  /** What the user can do about the application's last error message, if that is known. */
  readonly advice?: string | undefined;
  readonly reason: 'ended' | 'timeout' | 'interrupted';
}

const LAST_LINES = 25;
/** Milliseconds between two questions whether the guest listens. */
const ASK_MS = 50;
/** Number of characters of the console that are searched for signs of trouble. */
const KEPT_TEXT = 64 << 10;
const DEFAULT_BOOT_TIMEOUT = 60;
/** Time for an orderly power-off before the machine is killed. Longer than the guest's own grace period. */
const POWEROFF_MS = 20_000;
/**
 * Time from the end of the guest's programs to a kill. Their data may have to go to a server. Longer than the guest's
 * own timeout.
 */
const GONE_MS = 75_000;
/**
 * Time from the guest's last event to a kill. The kernel still prints its power-off message, and the host may be busy.
 */
const END_MS = 5000;

export const imageAt = async (path: string): Promise<Image> => ({ path, size: (await stat(path)).size });

/**
 * Runs a machine until it ends.
 * @throws NodeosError if QEMU cannot be started, or the guest panics, stays silent or ends without an explanation
 */
export async function runMachine(options: RunMachineOptions): Promise<MachineResult> {
  await checkFree(options.publish);
  // Paths of Unix sockets are limited to about 100 bytes, so the folder must be short.
  const dir = await temporaryFolder('vm', { isShort: true });
  const machine = new RunningMachine(options, dir);
  try {
    return await machine.run();
  } finally {
    await machine.close();
    await rm(dir, { recursive: true, force: true });
  }
}

class RunningMachine {
  readonly #events: GuestEvent[] = [];
  readonly #console: LineTail;
  readonly #ports = new Map<string, Port>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #terminalLog: string;
  /** Without ports the host hears nothing but the console, and can tell the guest nothing. */
  readonly #hasPorts: boolean;
  /** QEMU itself writes to the caller's standard output. */
  readonly #lendsOutput: boolean;
  #pipe: ConsolePipe | undefined;
  #killer: NodeJS.Timeout | undefined;
  #asking: NodeJS.Timeout | undefined;
  #text = '';
  #child: ChildProcess | undefined;
  #signal: NodeJS.Signals | null = null;
  #reason: MachineResult['reason'] | 'silent' = 'ended';

  constructor(
    private readonly options: RunMachineOptions,
    private readonly dir: string,
  ) {
    this.#console = new LineTail(LAST_LINES);
    this.#terminalLog = join(dir, 'console.log');
    this.#hasPorts = hasPorts(options.board);
    this.#lendsOutput = options.terminal === true && (canLendOutput() || !options.onConsole);
  }

  async run(): Promise<MachineResult> {
    const connections = await this.#connect();
    if (!this.#lendsOutput) this.#pipe = await consolePipe(join(this.dir, 'console'));
    this.options.signal?.throwIfAborted();
    const exit = this.#start(qemuArguments(this.options, connections));
    this.#watchTime();
    const stop = (): void => this.#powerOff('interrupted');
    const kill = (): void => void this.#child?.kill('SIGKILL');
    this.options.signal?.addEventListener('abort', stop, { once: true });
    this.options.kill?.addEventListener('abort', kill, { once: true });
    try {
      return this.#result(await exit);
    } finally {
      this.options.signal?.removeEventListener('abort', stop);
      this.options.kill?.removeEventListener('abort', kill);
    }
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    clearTimeout(this.#killer);
    clearInterval(this.#asking);
    this.#child?.kill('SIGKILL');
    this.#pipe?.release();
    this.#pipe?.output.destroy();
    await Promise.all([...this.#ports.values()].map((port) => port.close()));
  }

  async #connect(): Promise<Connections> {
    const terminal = this.options.terminal ? { terminalLog: this.#terminalLog } : {};
    if (!this.#hasPorts) return { ports: {}, ...terminal };
    const { control } = this.options;
    const handlers: Record<string, Sink> = {
      ...(control ? { [PORTS.control]: control.onData } : {}),
      [PORTS.events]: eventParser((event) => this.#onEvent(event)),
      [PORTS.settings]: () => undefined,
      ...this.options.ports,
    };
    const seed = randomBytes(32).toString('hex');
    const settings = `${JSON.stringify({ seed, ...this.options.settings })}\n`;
    const ports: Record<string, string> = {};
    for (const [name, onData] of Object.entries(handlers)) {
      ports[name] = join(this.dir, name);
      const port = await listenPort(ports[name], onData, name === PORTS.settings ? settings : '');
      this.#ports.set(name, port);
    }
    control?.onOpen((text) => this.#ports.get(PORTS.control)?.write(text));
    return { ports, ...terminal };
  }

  #start(args: readonly string[]): Promise<number> {
    const { board, terminal } = this.options;
    const qemu = board.emulator.program;
    // A separate process group: Ctrl-C reaches only this process, which then asks the guest to power off.
    const [program, ...prefix] = withParentDeathSignal(qemu);
    const child = spawn(program, [...prefix, ...args], {
      stdio: [terminal ? 'inherit' : 'ignore', this.#pipe?.input ?? 'inherit', 'pipe'],
      detached: !terminal,
    });
    this.#pipe?.release();
    this.#child = child;
    if (!terminal) child.once('exit', trackGroup(child.pid));
    child.stderr?.on('data', (chunk: Buffer) => this.#onOutput(chunk));
    return new Promise((resolve, reject) => {
      const forwarded = this.#forwardConsole();
      forwarded.catch(reject);
      child.once('error', (error) => {
        const isMissing = codeOf(error) === 'ENOENT';
        reject(isMissing ? new MissingProgramError(qemu) : new NodeosError(`cannot start ${qemu}: ${error.message}`));
      });
      child.once('close', (code, signal) => {
        this.#signal = signal;
        void forwarded.then(() => resolve(code ?? -1), reject);
      });
    });
  }

  /** Resolves when all of the console has arrived. */
  async #forwardConsole(): Promise<void> {
    if (!this.#pipe) return;
    const { output } = this.#pipe;
    forward(output, (chunk) => {
      this.#onOutput(chunk);
      return this.options.onConsole?.(chunk);
    });
    await once(output, 'close');
  }

  #onOutput(chunk: Buffer): void {
    this.#console.push(chunk);
    this.#text = (this.#text + chunk.toString('latin1')).slice(-KEPT_TEXT);
  }

  #watchTime(): void {
    const { timeout, bootTimeout = DEFAULT_BOOT_TIMEOUT } = this.options;
    if (timeout !== undefined) this.#schedule(timeout * 1000, () => this.#powerOff('timeout'));
    this.#schedule(bootTimeout * 1000, () => {
      if (this.#showsLife()) return;
      this.#reason = 'silent';
      this.#child?.kill('SIGKILL');
    });
  }

  #showsLife(): boolean {
    // Output that was lent goes past this process.
    return this.#events.length > 0 || (!this.#hasPorts && (this.#lendsOutput || this.#text !== ''));
  }

  #powerOff(reason: 'timeout' | 'interrupted'): void {
    this.#reason = reason;
    // Before PID 1 runs, nothing in the guest can receive the request.
    if (this.#events.length === 0) this.#child?.kill('SIGKILL');
    else this.#ports.get(PORTS.events)?.write('poweroff\n');
    this.#killAfter(POWEROFF_MS);
  }

  /** Replaces a timer that was set earlier. */
  #killAfter(milliseconds: number): void {
    clearTimeout(this.#killer);
    this.#killer = setTimeout(() => void this.#child?.kill('SIGKILL'), milliseconds).unref();
  }

  #schedule(milliseconds: number, work: () => void): void {
    this.#timers.push(setTimeout(work, milliseconds).unref());
  }

  #onEvent(event: GuestEvent): void {
    this.#events.push(event);
    if (event.event === 'gone') this.#killAfter(GONE_MS);
    // The guest has synced and unmounted. If the machine cannot power off by itself, it is killed.
    if (event.event === 'end') this.#killAfter(END_MS);
    if (event.event === 'app') this.#ask();
    if (event.event === 'listening') clearInterval(this.#asking);
    this.options.onEvent?.(event);
  }

  /** Asks until the guest listens on the port. An application that is started again need not be asked. */
  #ask(): void {
    const { awaitPort } = this.options;
    if (awaitPort === undefined) return;
    this.#asking ??= setInterval(() => this.#ports.get(PORTS.events)?.write(`listens ${awaitPort}\n`), ASK_MS).unref();
  }

  #result(code: number): MachineResult {
    if (this.#lendsOutput && existsSync(this.#terminalLog)) {
      const log = readFileSync(this.#terminalLog);
      this.#console.push(log);
      this.#text += log.toString('latin1').slice(-KEPT_TEXT);
    }
    this.#console.end();
    const events = this.#events;
    const reason = this.#reason;
    const lines = this.#console.lines.map(stripVTControlCharacters);
    const trouble = troubleIn(this.#text, this.options.memory);
    const result = { events, status: lastStatus(events), lines, trouble, advice: adviceIn(this.#text) };
    if (reason === 'timeout' || reason === 'interrupted') return { ...result, reason };
    const hasEnded = events.some(({ event }) => event === 'end');
    if (hasEnded || (!this.#hasPorts && code === 0 && !trouble)) return { ...result, reason: 'ended' };
    const { cause, hint } = trouble ?? this.#explainEnd(code);
    throw new NodeosError(cause, { lines, ...(hint === undefined ? {} : { hint }) });
  }

  /** Explains an early end that the console does not explain. */
  #explainEnd(code: number): Trouble {
    const { board, bootTimeout = DEFAULT_BOOT_TIMEOUT } = this.options;
    const qemu = board.emulator.program;
    if (this.#reason === 'silent')
      return {
        cause: `the guest gave no sign of life for ${bootTimeout} s`,
        hint: 'on a busy host, a large application takes long to unpack: give it time with --boot-timeout S, or unpack nothing with --root nbd',
      };
    if (this.#signal === 'SIGSYS')
      return {
        cause: `${qemu} did what its sandbox forbids, such as to start a program`,
        hint: 'if it was asked to, let it: -- -sandbox on,spawn=allow …',
      };
    const ending = this.#signal === null ? `exit status ${code}` : `ended by ${this.#signal}`;
    return { cause: `the machine ended without a word (${qemu}: ${ending})` };
  }
}

function lastStatus(events: readonly GuestEvent[]): number | undefined {
  const exit = events.findLast((event) => event.event === 'exit');
  if (!exit) return undefined;
  return exit.signal > 0 ? 128 + exit.signal : exit.status;
}
