/** Machines' worth of traces, replayed against one server of images at once. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectNbd } from '@nodeos/nbd';
import { note, ROOT, round, type Row } from '../machines.js';
import { freePort } from '../measure.js';
import type { Request } from './start.js';

/** An image of the store, and what its machines read. */
export interface Replay {
  readonly name: string;
  readonly requests: readonly Request[];
}

const MACHINES = 50;

/** Serves all images from one process, to 50 machines that start at the same moment, and evenly over the images. */
export async function replayAll(store: string, replays: readonly Replay[]): Promise<Row> {
  note(`images: ${MACHINES} machines' traces against one server of ${replays.length} images`);
  const server = await serve(store, replays);
  try {
    const alone = await machineTime(server.port, replays[0], 0);
    const before = await server.cpuSeconds();
    const started = performance.now();
    const times = await Promise.all(
      Array.from({ length: MACHINES }, (_, number) => machineTime(server.port, replays[number % replays.length], 1)),
    );
    const took = (performance.now() - started) / 1000;
    const bytes = Array.from({ length: MACHINES }, (_, number) => bytesOf(replays[number % replays.length]));
    return {
      [`${MACHINES} machines: most memory of the server, MiB`]: Math.round(await server.mostMemory()),
      [`${MACHINES} machines: images, MB read by all`]: `${replays.length}, ${Math.round(bytes.reduce((a, b) => a + b) / 1e6)}`,
      [`${MACHINES} machines: all traces done, s`]: round(took),
      [`${MACHINES} machines: the slowest machine, s`]: round(Math.max(...times) / 1000),
      [`${MACHINES} machines: processor of the server, s`]: round((await server.cpuSeconds()) - before),
      'one machine that does not compute, s': round(alone / 1000),
    };
  } finally {
    await server.stop();
  }
}

const bytesOf = (replay: Replay | undefined): number =>
  (replay?.requests ?? []).reduce((sum, { length }) => sum + length, 0);

/**
 * Asks for what a machine has asked for, one after the other, each at its time or as soon as the one before is answered.
 * @param pace 1: at the times of the trace; 0: without pauses
 * @returns milliseconds
 */
async function machineTime(port: number, replay: Replay | undefined, pace: number): Promise<number> {
  if (!replay) throw new TypeError('no trace');
  const device = await connectNbd(`nbd://127.0.0.1:${port}/${replay.name}`, { connections: 1 });
  const started = performance.now();
  for (const { t, offset, length } of replay.requests) {
    const early = t * pace - (performance.now() - started);
    if (early > 1) await sleep(early);
    await device.read(Buffer.allocUnsafe(length), offset);
  }
  const took = performance.now() - started;
  await device.close();
  return took;
}

async function serve(store: string, replays: readonly Replay[]) {
  const port = await freePort();
  const sources = replays.map(({ name }) => `${name}=${store}:${name}`);
  const child = spawn(
    process.execPath,
    [join(ROOT, 'bin/nodeos'), 'store', 'serve', ...sources, '--listen', `nbd://127.0.0.1:${port}`, '--json'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = once(child, 'close');
  const lines = createInterface({ input: child.stdout });
  await Promise.race([
    once(lines, 'line'), // it listens
    ended.then(() => Promise.reject(new Error('nodeos store serve ended too early'))),
  ]);
  lines.on('line', () => undefined);
  return {
    port,
    mostMemory: async () =>
      Number(/^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024,
    async cpuSeconds(): Promise<number> {
      const [user = 0, system = 0] = (await readFile(`/proc/${child.pid}/stat`, 'utf8'))
        .replace(/^.*\) /, '')
        .split(' ')
        .slice(11, 13)
        .map(Number);
      return (user + system) / 100; // USER_HZ
    },
    async stop() {
      child.kill('SIGINT');
      await ended;
    },
  };
}
