/** For tests of a root on the network: images, servers that are not ours, and machines that boot from them. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build, Cache, plainProgress, targetOf, type Step } from '@nodeos/build';
import { writeErofs } from '@nodeos/fs';
import { rootTree, streamInitramfs } from '@nodeos/initramfs';
import { USR } from '@nodeos/runtime';
import { chooseAccelerator, imageAt, runMachine, type GuestEvent, type Image, type MachineResult } from '@nodeos/vm';
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

/** Builds a system, and writes its root as images into a folder. */
export async function streamed(app: string, folder: string): Promise<Streamed> {
  const layers = await systemOf(target, { app });
  const part = (name: string): Step | undefined => layers['initramfs-base'].step.inputs?.[name]?.inputs?.['input'];
  const names = Object.keys(layers['initramfs-base'].step.inputs ?? {});
  const natives = names.filter((name) => name.startsWith('app-')).map(part);
  const [app_, modules] = [part('app'), part('modules')];
  const init = layers.init.step;
  const steps = { init, stream: streamInitramfs(target, init), kernel: layers.kernel.step, usr: layers.usr.step };
  const more = { runtime: layers.runtime.step, ...(app_ ? { app: app_ } : {}), ...(modules ? { modules } : {}) };
  const out = await outputs({ ...steps, ...more });
  const nativeOutputs = Object.values(await outputs(Object.fromEntries(natives.map((step, n) => [String(n), step as Step]))));
  const { init: initOutput = '', runtime, ...rest } = out;
  const root = { init: initOutput, app: rest['app'], modules: rest['modules'], natives: nativeOutputs };
  const [image, small] = [join(folder, 'root.erofs'), join(folder, 'small.erofs')];
  await writeErofs(await rootTree({ ...root, runtime: runtime === undefined ? undefined : runtime }), image);
  await writeErofs(await rootTree(root), small);
  return {
    kernel: join(out['kernel'] ?? '', 'vmlinux'),
    initramfs: join(out['stream'] ?? '', 'initramfs-stream'),
    usr: await imageAt(join(out['usr'] ?? '', USR)),
    image,
    small,
  };
}

async function outputs(steps: Readonly<Record<string, Step>>): Promise<Record<string, string>> {
  const progress = plainProgress((text) => process.stderr.write(text));
  const built = await build(Object.values(steps), { progress, jobs: 2 });
  return Object.fromEntries(Object.keys(steps).map((name, index) => [name, built[index]?.output ?? '']));
}

export interface Server {
  readonly child: ChildProcess;
  /** Ends it as a power failure would. */
  kill(): Promise<void>;
}

/** Starts a server, and waits until it listens. */
export async function serve(port: number, program: string, ...args: readonly string[]): Promise<Server> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = once(child, 'close');
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${program} ended: ${said}`);
    if (await answers(port)) break;
    await sleep(20);
  }
  return {
    child,
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function answers(port: number): Promise<boolean> {
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

/** QEMU's user network, as the kernel's own parameter. */
export const IP = 'ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off';

export interface Booted {
  readonly events: GuestEvent[];
  console: string;
  readonly ended: Promise<MachineResult>;
  powerOff(): Promise<MachineResult>;
  saw(pattern: RegExp, seconds?: number): Promise<RegExpExecArray>;
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

export async function boot(system: Streamed, options: BootOptions): Promise<Booted> {
  const { kernel, initramfs } = system;
  accelerator ??= (
    await chooseAccelerator({ target, machine: 'q35', kernel, initramfs, notes: join(new Cache().root, 'accelerator.json') })
  ).name;
  const stop = new AbortController();
  const events: GuestEvent[] = [];
  const booted = { events, console: '' };
  let over = false;
  const ended = runMachine({
    target,
    machine: 'q35',
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
  }).finally(() => (over = true));
  ended.catch(() => undefined);
  const result: Booted = Object.assign(booted, {
    ended,
    async powerOff() {
      stop.abort();
      return ended;
    },
    async saw(pattern: RegExp, seconds = 60) {
      for (const deadline = Date.now() + seconds * 1000; ; ) {
        const match = pattern.exec(result.console);
        if (match) return match;
        if (over || Date.now() > deadline) throw new Error(`no ${String(pattern)} in:\n${result.console}`);
        await sleep(20);
      }
    },
  });
  return result;
}

export const has = (program: string): boolean => spawnSync(program, ['--version']).error === undefined;
