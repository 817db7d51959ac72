/** The same Node.js, application and kernel on glibc and on musl. */
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import autocannon from 'autocannon';
import { imageAt, runMachine, type MachineOptions } from '@nodeos/vm';
import { systemOf, type Libc } from 'nodeos';
import { answering, bootOurs, built, machine, note, ROOT, round, target, type Context, type Row } from './machines.js';
import { firstByte, freePort, median } from './measure.js';

const CONNECTIONS = 16;
const SECONDS = 5;

const LIBCS: readonly Libc[] = ['glibc', 'musl'];

type System = Required<Pick<MachineOptions, 'initramfs' | 'usr'>>;

async function systemOn(libc: Libc): Promise<System> {
  const { initramfsBase, usr } = await systemOf(target, { libc, app: join(ROOT, 'test/bench/app') });
  const result = await built(initramfsBase, usr);
  return { initramfs: result.path(initramfsBase), usr: await imageAt(result.path(usr)) };
}

interface Load {
  /** MiB. */
  readonly rss: number;
  readonly rssUnderLoad: number;
  readonly machineUnderLoad: number;
  readonly requests: number;
}

/** Boots once, and asks the application before and after some seconds of load from outside. */
async function underLoad(context: Context, system: System): Promise<Load> {
  const port = await freePort();
  const stop = new AbortController();
  const options = { ...machine(context, system.initramfs, port), ...system, timeout: 120, signal: stop.signal };
  const running = runMachine(options).catch(() => undefined);
  try {
    await firstByte(port, AbortSignal.timeout(60_000));
    await sleep(1000);
    const url = `http://127.0.0.1:${port}`;
    const memory = async (): Promise<{ rss: number; machine: number }> =>
      (await (await fetch(`${url}/memory`)).json()) as { rss: number; machine: number };
    const idle = await memory();
    const { requests } = await autocannon({ url, connections: CONNECTIONS, duration: SECONDS });
    const loaded = await memory();
    const mebibytes = (bytes: number): number => bytes / (1 << 20);
    return {
      rss: mebibytes(idle.rss),
      rssUnderLoad: mebibytes(loaded.rss),
      machineUnderLoad: mebibytes(loaded.machine),
      requests: requests.average,
    };
  } finally {
    stop.abort();
    await running;
  }
}

export async function libcs(
  context: Context,
  smallest: (system: Partial<MachineOptions>) => Promise<number>,
): Promise<Row> {
  const systems: [string, System][] = [];
  for (const libc of LIBCS) systems.push([libc, await systemOn(libc)]);
  const bytes = new Map<string, number[]>(systems.map(([name]) => [name, []]));
  const loads = new Map<string, Load[]>(systems.map(([name]) => [name, []]));
  for (let run = 0; run < context.runs; run++) {
    note(`libc, round ${run + 1} of ${context.runs}`);
    for (let turn = 0; turn < systems.length; turn++) {
      const [name, system] = systems[(run + turn) % systems.length] ?? ['', systems[0]?.[1] as System];
      bytes.get(name)?.push((await answering(bootOurs(context, system))).byte);
      loads.get(name)?.push(await underLoad(context, system));
    }
  }
  const rows: [string, number][] = [];
  for (const [name, system] of systems) {
    const all = loads.get(name) ?? [];
    rows.push(
      [`${name}: spawn to first HTTP byte, s`, median(bytes.get(name) ?? [])],
      [`${name}: resident memory, MiB`, median(all.map(({ rss }) => rss))],
      [`${name}: resident memory under load, MiB`, median(all.map(({ rssUnderLoad }) => rssUnderLoad))],
      [`${name}: memory used by the machine under load, MiB`, median(all.map((load) => load.machineUnderLoad))],
      [`${name}: requests a second`, median(all.map(({ requests }) => requests))],
      [`${name}: image, MiB`, (system.usr?.size ?? 0) / (1 << 20)],
      [`${name}: smallest --memory, MiB`, await smallest(system)],
    );
  }
  return Object.fromEntries(rows.map(([name, value]) => [name, round(value)]));
}
