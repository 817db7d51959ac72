/** Timing of machines: from the spawn of QEMU to lines on its console, events of its guest, and the first HTTP byte. */
import { spawn } from 'node:child_process';
import { connect, createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds between two attempts to connect, at least. */
const INTERVAL = 25;
/** Attempts at a time. */
const ATTEMPTS = 20;
/** Of what has been waited: so exact is the time of an answer that comes late. */
const EXACT = 0.005;

const usedPorts = new Set<number>();

/** A port that was free a moment ago; never the same one twice. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  if (usedPorts.has(port)) return freePort();
  usedPorts.add(port);
  return port;
}

/**
 * Asks for `/` with a new connection every few milliseconds until one answers: QEMU accepts connections long before
 * its guest does, and the early ones wait for a retransmission. On a busy host attempts live longer: a guest that has to answer
 * those that are given up already never comes to one that waits.
 * @returns the time of the first byte, by `performance.now()`, or undefined if the signal came first
 */
export async function firstByte(port: number, signal: AbortSignal): Promise<number | undefined> {
  let answerTime: number | undefined;
  const sockets = new Set<ReturnType<typeof connect>>();
  const started = performance.now();
  while (answerTime === undefined && !signal.aborted) {
    const socket = connect(port, '127.0.0.1');
    sockets.add(socket);
    socket.on('connect', () => socket.write('GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n'));
    socket.on('data', () => (answerTime ??= performance.now()));
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    const interval = Math.max(INTERVAL, (performance.now() - started) * EXACT);
    socket.setTimeout(ATTEMPTS * interval, () => socket.destroy());
    await sleep(interval);
  }
  for (const socket of sockets) socket.destroy();
  return answerTime;
}

/** Runs a machine until `watch` has what it wants. @returns the time of the spawn and the console's text */
export async function consoleOf(
  program: string,
  args: readonly string[],
  isDone: (text: string) => boolean,
  seconds: number,
): Promise<{ spawned: number; seen: number; text: string }> {
  const spawned = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
  try {
    const seen = await new Promise<number>((resolve, reject) => {
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        if (isDone(text)) resolve(performance.now());
      });
      child.on('error', reject);
      child.on('close', () => reject(new Error(`the machine ended too early:\n${text.slice(-2000)}`)));
    });
    return { spawned, seen, text };
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = 0, high = 0] = [sorted[middle - 1], sorted[middle]];
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}
