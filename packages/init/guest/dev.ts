/**
 * `nodeos dev`: the application's files are the host's own folder, and the application is started again when the host
 * says so. The next process is started in advance and waits, so that a change costs no start of Node.js.
 *
 * The host's lines on the port `PORTS.control`: `restart`. The guest's lines: `DevReport` as JSON.
 */
import type { ChildProcess } from 'node:child_process';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { PATHS, PORTS, type DevConfig, type DevReport } from '@nodeos/contract';
import { portDevice } from './config.js';
import type { Environment } from './environment.js';
import type { Syscalls } from './syscalls.js';

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_BIND = 4096;
const O_RDWR = 2;

const MODULES = `${PATHS.app}/node_modules`;
/** Where the image's own modules stay when the host's folder covers them. */
const KEPT_MODULES = '/run/node_modules';
/** Node.js also looks here, for a folder of the host that has no modules of its own. */
const ROOT_MODULES = '/node_modules';

/** Milliseconds that the application has to end. */
const GRACE_MS = 2000;
/** The role that `spawn` starts the init with. */
export const WAITING_ROLE = 'dev-child';
const [ORDERS, NEWS] = [3, 4];

/** What a waiting process is told to run. */
export interface Order {
  readonly main: string;
  readonly args: readonly string[];
  readonly environment: Environment;
  readonly inspect?: number;
}

/**
 * Mounts the host's folder over the application's (https://docs.kernel.org/filesystems/9p.html). The modules stay those
 * of the image, which were installed and compiled for this machine.
 */
export function shareFiles(sys: Syscalls, { tag }: DevConfig): void {
  const hasModules = sys.exists(MODULES);
  if (hasModules) {
    sys.mkdir(KEPT_MODULES, 0o755);
    sys.mount(MODULES, KEPT_MODULES, '', MS_BIND, '');
  }
  // Nothing is cached, so the next process sees what has changed.
  const options = 'trans=virtio,version=9p2000.L,cache=none,msize=512000';
  sys.mount(tag, PATHS.app, '9p', MS_RDONLY | MS_NOSUID | MS_NODEV, options);
  if (!hasModules) return;
  const place = sys.exists(MODULES) ? MODULES : ROOT_MODULES;
  if (place === ROOT_MODULES) sys.mkdir(ROOT_MODULES, 0o755);
  sys.mount(KEPT_MODULES, place, '', MS_BIND, '');
}

/** Opens the port to the host. @throws Error if there is none */
export function openControl(sys: Syscalls): number {
  const device = portDevice(sys, PORTS.control);
  if (device === undefined) throw new Error('the machine has no port for nodeos dev');
  return sys.open(device, O_RDWR);
}

/** Runs the application, again and again. It takes over this process. */
export function superviseApp(control: number, order: Order, nodeArgs: readonly string[], cwd: string): void {
  new Supervisor(control, order, nodeArgs, cwd).run();
}

/** Loaded on demand, because loading takes time that an ordinary boot does not have to spend. */
const load = (name: string): unknown => createRequire('/')(name);

class Supervisor {
  #current: ChildProcess | undefined;
  #waiting: ChildProcess | undefined;
  #isRestarting = false;
  #isEnding = false;

  constructor(
    private readonly control: number,
    private readonly order: Order,
    private readonly nodeArgs: readonly string[],
    private readonly cwd: string,
  ) {}

  run(): void {
    const fs = load('node:fs') as typeof import('node:fs');
    const lines = (load('node:readline') as typeof import('node:readline')).createInterface({
      input: fs.createReadStream('', { fd: this.control, autoClose: false }),
    });
    lines.on('line', (line) => {
      if (line === 'restart') this.#restart();
    });
    process.on('SIGTERM', () => {
      this.#isEnding = true;
      if (!this.#current) return end();
      this.#current.kill('SIGTERM');
    });
    this.#launch();
  }

  #restart(): void {
    if (this.#isRestarting) return; // the next process has read no file yet
    if (!this.#current) return this.#launch();
    const old = this.#current;
    this.#isRestarting = true;
    const timer = setTimeout(() => old.kill('SIGKILL'), GRACE_MS);
    old.once('exit', () => {
      clearTimeout(timer);
      this.#isRestarting = false;
      this.#launch();
    });
    old.kill('SIGTERM');
  }

  #launch(): void {
    const child = this.#waiting ?? this.#prepare();
    this.#waiting = undefined;
    this.#current = child;
    child.once('exit', (code, signal) => this.#onExit(child, code, signal));
    const [orders, news] = [child.stdio[ORDERS] as Socket, child.stdio[NEWS] as Socket];
    orders.on('error', () => undefined); // it has ended, which is reported
    orders.end(`${JSON.stringify(this.order)}\n`);
    news.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString().split('\n')) {
        if (line === '') continue;
        this.#report({ event: 'listening', port: Number(line) });
        this.#prepareNext();
      }
    });
  }

  #onExit(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#current !== child) return;
    this.#current = undefined;
    if (this.#isEnding) return end();
    if (this.#isRestarting) return;
    this.#report({ event: 'ended', status: code ?? -1, ...(signal === null ? {} : { signal }) });
    this.#prepareNext();
  }

  /** Starts the next process when nothing else has to be quick. */
  #prepareNext(): void {
    this.#waiting ??= this.#prepare();
  }

  #prepare(): ChildProcess {
    const { spawn } = load('node:child_process') as typeof import('node:child_process');
    const child = spawn(PATHS.node, [...this.nodeArgs, PATHS.init, WAITING_ROLE], {
      cwd: this.cwd,
      env: this.order.environment,
      stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'],
    });
    child.on('error', (error) => this.#report({ event: 'failed', message: error.message }));
    child.once('exit', () => {
      if (this.#waiting === child) this.#waiting = undefined;
    });
    return child;
  }

  #report(report: DevReport): void {
    const line = `${JSON.stringify(report)}\n`;
    (load('node:fs') as typeof import('node:fs')).writeSync(this.control, line);
  }
}

/** Ends this process by SIGTERM. `exit` would wait for the thread that waits for the host's next line. */
function end(): void {
  process.removeAllListeners('SIGTERM');
  process.kill(process.pid, 'SIGTERM');
}

/**
 * A waiting process: runs what it is told to, and tells which ports the application listens on.
 * @param run runs a module as the main module of this process
 */
export function waitForOrder(run: (main: string, args: readonly string[], environment: Environment) => void): void {
  const fs = load('node:fs') as typeof import('node:fs');
  let text = '';
  const piece = Buffer.alloc(65536);
  while (!text.endsWith('\n')) {
    const length = fs.readSync(ORDERS, piece, 0, piece.length, null);
    if (length === 0) return; // the machine ends
    text += piece.toString('utf8', 0, length);
  }
  fs.closeSync(ORDERS);
  const { main, args, environment, inspect } = JSON.parse(text) as Order;
  reportPorts((port) => fs.writeSync(NEWS, `${port}\n`));
  if (inspect !== undefined) openInspector(inspect);
  run(main, args, environment);
}

/** Node.js warns of an address that others reach. Here only the host does, by a port that the user asked for. */
function openInspector(port: number): void {
  const emitWarning = process.emitWarning.bind(process);
  process.emitWarning = () => undefined;
  (load('node:inspector') as typeof import('node:inspector')).open(port, '0.0.0.0');
  process.emitWarning = emitWarning;
}

/** Node.js tells when a server listens since 22.9; older ones report nothing. */
function reportPorts(report: (port: number) => void): void {
  const { subscribe } = load('node:diagnostics_channel') as typeof import('node:diagnostics_channel');
  subscribe('tracing:net.server.listen:asyncEnd', (message) => {
    const address = (message as { server?: { address?(): unknown } }).server?.address?.();
    const { port } = (typeof address === 'object' && address !== null ? address : {}) as { port?: unknown };
    if (typeof port === 'number') report(port);
  });
}
