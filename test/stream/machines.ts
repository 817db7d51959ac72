/** Foreign servers, and machines that boot from them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestEvent } from '@nodeos/contract';
import { boardOf, targetOf } from '@nodeos/targets';
import { Cache } from '@nodeos/engine';
import { chooseAccelerator, runMachine, type Image, type MachineResult } from '@nodeos/vm';
import type { Streamed } from './images.js';

const target = targetOf('x86_64');
const board = boardOf(target);

export interface Server {
  readonly child: ChildProcess;
  /** Ends the server like a power failure would. */
  kill(): Promise<void>;
}

/** Starts a server and waits until it listens. */
export async function serve(port: number, program: string, ...args: readonly string[]): Promise<Server> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = once(child, 'close');
  for (let listens = false; !listens;) {
    listens = await isListening(port); // another program may listen there
    await sleep(20);
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${program} ended: ${stderr}`);
  }
  return {
    child,
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

export const nbdkit = (port: number, ...args: readonly string[]): Promise<Server> =>
  serve(port, 'nbdkit', '--foreground', '--exit-with-parent', '--ipaddr=127.0.0.1', `--port=${port}`, ...args);

export const qemuNbd = (port: number, ...args: readonly string[]): Promise<Server> =>
  serve(port, 'qemu-nbd', '--persistent', '--bind=127.0.0.1', `--port=${port}`, '--shared=0', ...args);

/** The host's address in QEMU's user network. */
export const HOST = '10.0.2.2';

/** The kernel parameter for QEMU's user network. */
export const IP = `ip=10.0.2.15::${HOST}:255.255.255.0::eth0:off`;

export interface Booted {
  readonly events: GuestEvent[];
  console: string;
  readonly ended: Promise<MachineResult>;
  powerOff(): Promise<MachineResult>;
  waitForOutput(pattern: RegExp, seconds?: number): Promise<RegExpExecArray>;
}

export interface BootOptions {
  readonly append: readonly string[];
  readonly port?: number;
  readonly usr?: Image;
  readonly memory?: string;
  readonly extra?: readonly string[];
  readonly timeout?: number;
}

let accelerator: string | undefined;

export async function boot(system: Pick<Streamed, 'kernel' | 'initramfs'>, options: BootOptions): Promise<Booted> {
  const { kernel, initramfs } = system;
  accelerator ??= (
    await chooseAccelerator({
      board,
      kernel,
      initramfs,
      notes: join(new Cache().root, 'accelerator.json'),
    })
  ).name;
  const stop = new AbortController();
  const events: GuestEvent[] = [];
  const booted = { events, console: '' };
  let isOver = false;
  const ended = runMachine({
    board,
    accelerator,
    memory: options.memory ?? '256M',
    cpus: 1,
    kernel,
    initramfs,
    usr: options.usr,
    append: ['nodeos.attempts=1', ...options.append],
    publish:
      options.port === undefined ? [] : [{ protocol: 'tcp', address: '127.0.0.1', host: options.port, guest: 80 }],
    extra: options.extra ?? [],
    onConsole: (chunk) => (result.console += chunk.toString()),
    onEvent: (event) => events.push(event),
    signal: stop.signal,
    timeout: options.timeout ?? 120,
  }).finally(() => (isOver = true));
  ended.catch(() => undefined);
  const result: Booted = Object.assign(booted, {
    ended,
    async powerOff() {
      stop.abort();
      return ended;
    },
    async waitForOutput(pattern: RegExp, seconds = 60) {
      for (const deadline = Date.now() + seconds * 1000; ;) {
        const match = pattern.exec(result.console);
        if (match) return match;
        if (isOver || Date.now() > deadline) throw new Error(`no ${String(pattern)} in:\n${result.console}`);
        await sleep(20);
      }
    },
  });
  return result;
}
