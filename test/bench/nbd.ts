/** The NBD server against nbdkit, qemu-nbd and a floor: fio over a Unix socket, memory and a file in the page cache. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectNbd } from '@nodeos/nbd';
import { note, ROOT, round, type Row } from './machines.js';
import { median } from './measure.js';

const SIZE = '256M';
const BYTES = 256 << 20;
/** Of each measurement. */
const SECONDS = 3;

interface Workload {
  readonly rw: string;
  readonly block: string;
  readonly depth: number;
}

const WORKLOADS: readonly Workload[] = [
  { rw: 'randread', block: '4k', depth: 1 },
  { rw: 'randread', block: '4k', depth: 32 },
  { rw: 'randwrite', block: '4k', depth: 32 },
  { rw: 'read', block: '1m', depth: 8 },
  { rw: 'write', block: '1m', depth: 8 },
];

const OURS = [process.execPath, join(ROOT, 'bin/nodeos'), 'nbd', 'serve'];
const socketUri = (socket: string): string => `nbd+unix:///?socket=${socket}`;

const FLOOR = 'floor, memory';

/** Programs that serve the same number of bytes at a socket; the floor's is compiled into the folder of the socket. */
const SERVERS: Readonly<Record<string, (socket: string, file: string) => string[]>> = {
  [FLOOR]: (socket) => [join(dirname(socket), 'nbd-floor'), socket, String(BYTES)],
  'ours, memory': (socket) => [...OURS, `memory:${SIZE}`, '--listen', socketUri(socket)],
  'ours without threads, memory': (socket) => [
    ...OURS,
    ...[`memory:${SIZE}`, '--threads', '0', '--listen', socketUri(socket)],
  ],
  'nbdkit, memory': (socket) => ['nbdkit', '-f', '-U', socket, 'memory', SIZE],
  'ours, file': (socket, file) => [...OURS, file, '--listen', socketUri(socket)],
  'nbdkit, file': (socket, file) => ['nbdkit', '-f', '-U', socket, 'file', file],
  'qemu-nbd, file': (socket, file) => ['qemu-nbd', '-t', '-f', 'raw', '-k', socket, file],
};

/** Ours, and whom it is measured against; and how much faster than the others a server can be. */
const PAIRS: readonly (readonly [ours: string, peer: string])[] = [
  [FLOOR, 'nbdkit, memory'],
  ['ours, memory', 'nbdkit, memory'],
  ['ours, memory', 'ours without threads, memory'],
  ['ours, file', 'nbdkit, file'],
  ['ours, file', 'qemu-nbd, file'],
];

export async function nbd(runs: number): Promise<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-bench-nbd-'));
  const running = new Map<string, ChildProcess>();
  const socketOf = (name: string): string => join(folder, name.replaceAll(/\W+/g, '-'));
  try {
    execFileSync('gcc', ['-O2', '-pthread', '-o', join(folder, 'nbd-floor'), join(ROOT, 'test/bench/nbd-floor.c')]);
    for (const [name, command] of Object.entries(SERVERS)) {
      const file = join(folder, `${socketOf(name).split('/').at(-1)}.disk`);
      if (name.endsWith('file')) await writeFile(file, randomBytes(BYTES));
      running.set(name, await startServer(command(socketOf(name), file), socketOf(name)));
      await fill(socketUri(socketOf(name)));
    }
    const rows: Record<string, number> = {};
    for (const load of WORKLOADS) Object.assign(rows, await compared(load, runs, socketOf));
    rows['memory of the server with 100 idle and 10 busy connections, MiB'] = await manyConnections(folder);
    return rows;
  } finally {
    for (const child of running.values()) child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

async function compared(
  load: Workload,
  runs: number,
  socketOf: (name: string) => string,
): Promise<Record<string, number>> {
  const names = Object.keys(SERVERS);
  const measured: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]));
  const label = `${load.rw} ${load.block} depth ${load.depth}`;
  for (let run = 0; run < runs; run++) {
    note(`${label}, round ${run + 1} of ${runs}`);
    // Another one first each time.
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(run + turn) % names.length] ?? '';
      measured[name]?.push(await fio(load, socketUri(socketOf(name))));
    }
  }
  const speed = (name: string): number => median(measured[name] ?? []);
  return Object.fromEntries([
    ...names.map((name) => [`${label}: ${name}, requests/s`, Math.round(speed(name))]),
    ...PAIRS.map(([ours, peer]) => [`${label}: ${ours} / ${peer}`, round(speed(ours) / speed(peer))]),
  ]) as Record<string, number>;
}

/** @returns requests per second */
async function fio({ rw, block, depth }: Workload, uri: string): Promise<number> {
  const options = [`--rw=${rw}`, `--bs=${block}`, `--iodepth=${depth}`, `--runtime=${SECONDS}`, `--uri=${uri}`];
  const common = ['--name=bench', '--ioengine=nbd', '--time_based', `--size=${BYTES}`, '--output-format=json'];
  const child = spawn('fio', [...common, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const [status] = (await once(child, 'close')) as [number];
  if (status !== 0) throw new Error(`fio ended with status ${status}: ${text}`);
  const { jobs } = JSON.parse(text.slice(text.indexOf('{'))) as { jobs: Record<'read' | 'write', { iops: number }>[] };
  return Math.max(jobs[0]?.read.iops ?? 0, jobs[0]?.write.iops ?? 0);
}

/** Starts a server, and waits until it listens. */
async function startServer(command: readonly string[], socket: string): Promise<ChildProcess> {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) throw new Error(`${command.join(' ')} ended with status ${child.exitCode}`);
    const answers = await new Promise<boolean>((resolve) => {
      const probe = connect(socket, () => resolve(true)).on('error', () => resolve(false));
      probe.once('connect', () => probe.destroy());
    });
    if (answers) return child;
    await sleep(50);
  }
  throw new Error(`${command.join(' ')} does not listen at ${socket}`);
}

/** Data everywhere: nobody is measured on holes. */
async function fill(uri: string): Promise<void> {
  const disk = await connectNbd(uri);
  const bytes = randomBytes(1 << 20);
  for (let offset = 0; offset < disk.size; offset += bytes.length) await disk.write?.(bytes, offset);
  await disk.close();
}

/** Of a server of a small disk: what it needs by itself. */
async function manyConnections(folder: string): Promise<number> {
  const socket = join(folder, 'many');
  const file = join(folder, 'many.disk');
  await writeFile(file, randomBytes(16 << 20));
  const server = await startServer([...OURS, file, '--listen', socketUri(socket)], socket);
  const idle: Socket[] = Array.from({ length: 100 }, () => connect(socket));
  try {
    const disks = await Promise.all(
      Array.from({ length: 10 }, () => connectNbd(socketUri(socket), { connections: 1, inFlight: 16 })),
    );
    let peak = 0;
    const until = performance.now() + SECONDS * 1000;
    const busy = disks.flatMap((disk, index) =>
      Array.from({ length: 8 }, async () => {
        const buffer = Buffer.alloc(1 << 20);
        while (performance.now() < until) {
          await disk.read(buffer, (index % 15) << 20);
          await disk.write?.(buffer, (index % 15) << 20);
        }
      }),
    );
    const watching = (async () => {
      while (performance.now() < until) {
        const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
        peak = Math.max(peak, Number(/VmRSS:\s*(\d+)/.exec(status)?.[1]) / 1024);
        await sleep(100);
      }
    })();
    await Promise.all([...busy, watching]);
    await Promise.all(disks.map((disk) => disk.close()));
    return round(peak);
  } finally {
    for (const socketOfOne of idle) socketOfOne.destroy();
    server.kill('SIGKILL');
  }
}
