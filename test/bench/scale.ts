/**
 * 10,000 starts of ten images over 100 hosts and one origin, in virtual time (scale/simulate.ts), with what the starts of real
 * machines have read (scale/traces.jsonl, from `npm run bench -- images`). The same numbers on every machine.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { note, ROOT, round, type Row } from './machines.js';
import { randomStarts, simulate, type Setup } from './scale/simulate.js';
import { decodeTraces } from './scale/traces.js';

export const TRACES = join(ROOT, 'test/bench/scale/traces.jsonl');

const GIGABIT = 1e9 / 8;
const STARTS = { count: 10_000, hosts: 100, over: 10_000, seed: 1 };
const DISK = { most: 10 * 2 ** 30, seek: 0.1, bytesPerSecond: 500e6 };
const ALONE: Setup = {
  hosts: STARTS.hosts,
  originBytesPerSecond: 10 * GIGABIT,
  hostBytesPerSecond: GIGABIT,
  roundTrip: 20,
  hop: 0.5,
  scope: 'machine',
  memory: 64 << 20,
  disk: undefined,
  hasList: false,
  hasPeers: false,
};
const HOST: Setup = { ...ALONE, scope: 'host', memory: 32 << 20 };
const SETUPS: Readonly<Record<string, Setup>> = {
  'each machine alone': ALONE,
  'each machine alone, list': { ...ALONE, hasList: true },
  'a server for each host': HOST,
  'a server for each host, list': { ...HOST, hasList: true },
  disk: { ...HOST, disk: DISK },
  'disk, list': { ...HOST, disk: DISK, hasList: true },
  'disk, peers': { ...HOST, disk: DISK, hasPeers: true },
  'disk, peers, list': { ...HOST, disk: DISK, hasPeers: true, hasList: true },
};

export async function scale(): Promise<Row> {
  const traces = decodeTraces(await readFile(TRACES, 'utf8'));
  const starts = randomStarts(traces, STARTS);
  const computing = traces.map(({ reads, rest }) => reads.reduce((sum, { after }) => sum + after, rest));
  const rows: Record<string, string | number> = {
    'starts, images, hosts': [STARTS.count, traces.length, STARTS.hosts].join(', '),
    'computing of a start, median, s': seconds(quantile(computing, 0.5)),
  };
  for (const [name, setup] of Object.entries(SETUPS)) {
    note(`scale: ${name}`);
    const { originBytes, originRequests, times } = simulate(starts, setup);
    rows[`${name}: from the origin, GB`] = round(originBytes / 1e9);
    rows[`${name}: requests to it, thousands`] = round(originRequests / 1000);
    rows[`${name}: to the answer, median, s`] = seconds(quantile(times, 0.5));
    rows[`${name}: to the answer, 99th of 100, s`] = seconds(quantile(times, 0.99));
  }
  return rows;
}

const seconds = (milliseconds: number): number => round(milliseconds / 1000);

/** The smallest value that is not below `share` of all. */
function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(share * sorted.length) - 1] ?? NaN;
}
