/**
 * The last step of the init: its process becomes the application, the REPL, or the code of `--exec`. If possible, it
 * stays in the same Node.js process, which saves starting a second one. It uses execve(2) if the program needs Node.js
 * options, a terminal or other file descriptors.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { PATHS, PORTS, type Program, type SystemConfig } from '@nodeos/contract';
import type { BootContext } from './boot.js';
import { portDevice } from './config.js';
import { confine } from './confine.js';
import { becomeContainer } from './container.js';
import { openControl, shareFiles, superviseApp } from './dev.js';
import { argumentsOf, readAtStart, type Environment } from './environment.js';
import type { Syscalls } from './syscalls.js';
import { takeTerminal } from './terminal.js';

/** A library that was preloaded into PID 1's programs is also preloaded into the program's children. */
const { LD_PRELOAD } = process.env;
const ENVIRONMENT = { PATH: '/bin:/sbin', LANG: 'C.UTF-8', ...(LD_PRELOAD === undefined ? {} : { LD_PRELOAD }) };
const O_RDWR = 2;

/** How programs are run. Tests replace it. */
export interface Run {
  /** Runs a module as the main module of this process. */
  main(main: string, args: readonly string[], environment: Environment): void;
  /** Runs a Node.js process to its end. @returns its status; 128 + the signal's number if a signal ended it */
  first(args: readonly string[], environment: Environment): number;
  /** Runs a module in processes of its own, again and again: `superviseApp`. */
  supervise: typeof superviseApp;
  /** Exits this process. */
  end(status: number): void;
}

/** Starts what this machine is for: the code of `--exec`, an application, or a REPL. */
export function become(context: BootContext, run: Run = IN_PROCESS): void {
  const { config } = context;
  const { exec, container } = config.run;
  if (exec !== undefined) becomeCode(context, exec);
  else if (container) becomeContainer(context, container);
  else if (config.app) becomeApp(context, config.app, run);
  else becomeRepl(context, true);
}

function becomeApp({ sys, config, report }: BootContext, app: SystemConfig, run: Run): void {
  const home = app.user === 'root' ? '/root' : PATHS.home;
  const defaults = { ...ENVIRONMENT, HOME: home, USER: app.user, NODE_ENV: 'production', PORT: '80' };
  const environmentOf = ({ env }: Program): Environment => ({ ...defaults, ...env, ...config.run.env });
  const environment = environmentOf(app);
  const args = argumentsOf(app, environment);
  const atStart = readAtStart(environment, { ...ENVIRONMENT, ...process.env });
  const { first } = app;
  const { dev } = config.run;
  if (dev) shareFiles(sys, dev);
  const control = dev && openControl(sys);
  if (first.length > 0) report.event('first', { commands: first.length });
  report.event('app', { main: app.main, ...(atStart.length > 0 ? { again: atStart } : {}) });
  report.close();
  sys.chdir(app.cwd);
  if (app.user !== 'root') confine(sys);
  for (const program of first) {
    const programEnvironment = environmentOf(program);
    const status = run.first(
      [...program.nodeArgs, program.main, ...argumentsOf(program, programEnvironment)],
      programEnvironment,
    );
    if (status === 0) continue;
    sys.print(2, `nodeos: ${program.from} ended with status ${status}; the application is not started\n`);
    return run.end(status);
  }
  if (control !== undefined) {
    const inspect = dev?.inspect === undefined ? {} : { inspect: dev.inspect };
    run.supervise(control, { main: app.main, args, environment, ...inspect }, app.nodeArgs, app.cwd);
  } else if (app.nodeArgs.length === 0 && atStart.length === 0) run.main(app.main, args, environment);
  else sys.execute(PATHS.node, [PATHS.node, ...app.nodeArgs, app.main, ...args], environment);
}

function becomeCode({ sys, config, report }: BootContext, code: string): void {
  for (const [port, fd] of [
    [PORTS.stdout, 1],
    [PORTS.stderr, 2],
  ] as const) {
    const device = portDevice(sys, port);
    if (device !== undefined) sys.duplicate(sys.open(device, O_RDWR), fd);
  }
  report.event('exec');
  report.close();
  sys.chdir(config.app?.cwd ?? '/');
  const environment = { ...ENVIRONMENT, HOME: '/root', PORT: '80', ...config.run.env };
  sys.execute(PATHS.node, [PATHS.node, '--eval', code], environment);
}

/** Starts Node.js's own REPL on the console. */
export function becomeRepl(context: BootContext, greet: boolean): void {
  const { sys, config, report } = context;
  takeTerminal(context);
  if (greet) sys.print(1, greeting(sys));
  report.event('repl');
  report.close();
  sys.chdir('/root');
  sys.execute(PATHS.node, [PATHS.node], {
    ...ENVIRONMENT,
    HOME: '/root',
    TERM: 'linux',
    NODE_REPL_HISTORY: '',
    ...config.run.env,
  });
}

function greeting(sys: Syscalls): string {
  const kernel = sys.read('/proc/sys/kernel/osrelease').toString().trim();
  return `NodeOS: Node.js ${process.version} on Linux ${kernel}. Nothing else runs here.\nTo leave: .exit, or Ctrl-D twice on an empty line.\n`;
}

export const runMainHere: Run['main'] = (main, args, environment) => {
  for (const name of Object.keys(process.env)) Reflect.deleteProperty(process.env, name);
  Object.assign(process.env, environment);
  process.argv.splice(1, process.argv.length - 1, main, ...args);
  // Node.js writes to a pipe asynchronously, and process.exit() drops pending output. After a crash, the last lines
  // matter most, so the streams block.
  for (const stream of [process.stdout, process.stderr]) {
    (stream as { _handle?: { setBlocking?: (on: boolean) => void } })._handle?.setBlocking?.(true);
  }
  const require = createRequire('/');
  for (const path of Object.keys(require.cache)) Reflect.deleteProperty(require.cache, path);
  // Node.js itself calls this function for the main module. It decides between CommonJS and ES modules.
  const { runMain } = require('node:module') as { runMain: (main: string) => void };
  // Runs later, so that an exception of the application is uncaught: Node.js prints its stack and exits.
  process.nextTick(runMain, main);
};

const IN_PROCESS: Run = {
  main: runMainHere,
  first(args, environment) {
    // Loaded on demand, because loading takes time.
    const { spawnSync } = createRequire('/')('node:child_process') as typeof import('node:child_process');
    const { status, signal, error } = spawnSync(PATHS.node, args, { env: environment, stdio: 'inherit' });
    if (error) throw error;
    return status ?? 128 + (signal === null ? 0 : constants.signals[signal]);
  },
  supervise: superviseApp,
  end: (status) => process.exit(status),
};
