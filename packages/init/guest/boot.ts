/**
 * The boot is a table of steps. Each step has a name for error reports and uses only `Syscalls`. A failed step does not
 * end the boot: an appliance without a network, or with a dead clock, should still run.
 */
import { WORDS } from '@nodeos/contract';
import type { Config } from './config.js';
import { prepareData, repairTable } from './data.js';
import type { MachineSetup } from './machine.js';
import { runForEach, mountAll } from './mounts.js';
import { setUpNetwork } from './interfaces.js';
import type { Lease } from './lease.js';
import type { Report } from './report.js';
import type { Syscalls } from './syscalls.js';
import { setTime } from './time.js';

export interface BootContext {
  readonly sys: Syscalls;
  readonly config: Config;
  readonly report: Report;
}

export interface BootStep {
  readonly name: string;
  run(context: BootContext): void;
}

/** Files below /proc/sys with their values. https://docs.kernel.org/admin-guide/sysctl/ */
const SYSCTLS: readonly (readonly [string, string])[] = [
  // The application can listen on port 80 without being root. Lower ports are reserved for the system.
  ['net/ipv4/ip_unprivileged_port_start', '80'],
  // No user namespaces, so nobody becomes root in one.
  ['user/max_user_namespaces', '0'],
  // Hide kernel addresses from everybody.
  ['kernel/kptr_restrict', '2'],
  // Of the SysRq commands by keyboard or serial line, allow only sync. (Allowing none delays the boot by 20 ms.)
  ['kernel/sysrq', '16'],
  // A process can only be traced by an ancestor.
  ['kernel/yama/ptrace_scope', '1'],
  // Limit objects that outlive the application. System V shared memory disappears with its last user. Message queues
  // and semaphores are few.
  ['kernel/shm_rmid_forced', '1'],
  ['kernel/msgmni', '128'],
  ['kernel/sem', '250 32000 32 128'],
  // In world-writable folders such as /tmp, protect against links and files of other users.
  ['fs/protected_symlinks', '1'],
  ['fs/protected_hardlinks', '1'],
  ['fs/protected_fifos', '2'],
  ['fs/protected_regular', '2'],
];

/** struct rand_pool_info (random(4)): bits of entropy, bytes of data, the data. */
const RNDADDENTROPY = 0x40085203;
const O_WRONLY = 1;

/**
 * Earliest plausible time, 2026-09-01T00:00:00Z in seconds since 1970. An earlier clock is older than this image's
 * sources, so it is wrong.
 */
const CLOCK_FLOOR = 1788220800;

/** Seconds until a network that failed at the boot is tried again, and one that failed later. */
const NETWORK_RETRY = 30;
export const NETWORK_AGAIN = 60;
/** Seconds until silent time servers are asked again, and those that have answered. */
const TIME_RETRY = 120;
const TIME_AGAIN = 86400;

/** How the network is set up. The kernel command line can turn it off. */
export const networkSetupOf = ({ cmdline, machine }: Config): MachineSetup['network'] =>
  cmdline.get(WORDS.network) === 'off' ? 'off' : machine.network;

/**
 * Sets the clock by time servers, and has them asked again.
 * @param tolerance as for `setTime`
 * @throws Error with the reason of each server
 */
export function keepTime(sys: Syscalls, servers: readonly string[], report: Report, tolerance = 0): void {
  try {
    setTime(sys, servers, CLOCK_FLOOR, tolerance);
    report.renewWithin(TIME_AGAIN);
  } catch (error) {
    report.renewWithin(TIME_RETRY);
    throw error;
  }
}

/**
 * Sets up the network or keeps it, and has it looked after again when the first lease is due.
 * @param subject begins each message
 * @param retry seconds until what failed is tried again
 * @returns the leases that are new or were renewed
 * @throws Error naming each interface that failed
 */
export function keepNetwork({ sys, config, report }: BootContext, subject: string, retry: number): readonly Lease[] {
  const setup = networkSetupOf(config);
  if (setup === 'off') return [];
  const log = (text: string): void => report.log(`${subject}: ${text}`);
  const { kept, renewed, failures } = setUpNetwork(sys, config.cmdline, hostNameOf(config), setup, log);
  for (const { renewAt } of [...kept, ...renewed]) report.renewWithin(Math.ceil((renewAt - sys.now()) / 1e6));
  if (failures.length === 0) return renewed;
  report.renewWithin(retry);
  throw new Error(failures.join('; '));
}

export const STEPS: readonly BootStep[] = [
  {
    name: 'mounts',
    run: ({ sys }) => mountAll(sys),
  },
  {
    name: 'data',
    run({ sys, report }) {
      const crc32 = (bytes: Uint8Array): number => process.getBuiltinModule('node:zlib').crc32(bytes);
      for (const line of [repairTable(sys, crc32), prepareData(sys, crc32)]) if (line !== undefined) report.log(line);
    },
  },
  {
    name: 'settings',
    run({ sys }) {
      runForEach(
        SYSCTLS,
        ([name]) => name,
        ([name, value]) => sys.write(`/proc/sys/${name}`, value),
      );
    },
  },
  {
    name: 'random seed',
    run({ sys, config }) {
      const seed = Buffer.from(config.run.seed ?? '', 'hex');
      if (seed.length === 0) return; // virtio-rng, RDRAND or the firmware's seed must suffice
      const pool = Buffer.alloc(8 + seed.length);
      pool.writeInt32LE(seed.length * 8, 0);
      pool.writeInt32LE(seed.length, 4);
      seed.copy(pool, 8);
      const fd = sys.open('/dev/urandom', O_WRONLY);
      sys.ioctl(fd, RNDADDENTROPY, pool);
      sys.close(fd);
    },
  },
  {
    name: 'clock',
    run({ sys, report }) {
      const now = sys.clock(); // the kernel has already read the hardware clock
      if (now >= CLOCK_FLOOR) return;
      report.log(
        `clock: ${new Date(now * 1000).toISOString()} cannot be: set to ${new Date(CLOCK_FLOOR * 1000).toISOString()}`,
      );
      sys.setClock(CLOCK_FLOOR);
    },
  },
  {
    name: 'hostname',
    run({ sys, config }) {
      const name = hostNameOf(config);
      sys.setHostName(name);
      sys.write('/etc/hostname', `${name}\n`);
      sys.write('/etc/hosts', `127.0.0.1 localhost ${name}\n::1 localhost ${name}\n`);
    },
  },
  {
    name: 'network',
    run: (context) => void keepNetwork(context, 'network', NETWORK_RETRY),
  },
  {
    name: 'time',
    run({ sys, config, report }) {
      const { timeServers } = config.machine;
      if (timeServers.length > 0 && networkSetupOf(config) !== 'off') keepTime(sys, timeServers, report);
    },
  },
];

/** Runs all steps in order. Reports each with its duration, and by name if it fails. */
export function boot(context: BootContext, steps: readonly BootStep[] = STEPS): void {
  for (const step of steps) {
    const started = context.sys.now();
    try {
      step.run(context);
      context.report.event('step', { step: step.name, took: context.sys.now() - started });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      context.report.log(`${step.name}: ${message}`);
      context.report.event('step', { step: step.name, took: context.sys.now() - started, error: message });
    }
  }
}

/** The host name: `nodeos.hostname=`, else the configuration's, else the container's or the application's name reduced to valid characters, else `nodeos`. */
export function hostNameOf(config: Config): string {
  const wanted =
    config.cmdline.get(WORDS.hostName) ??
    config.machine.hostName ??
    config.run.container?.name ??
    config.app?.name.replace(/^@[^/]*\//, '') ??
    '';
  const name = wanted
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 63)
    .replace(/-+$/, '');
  return name === '' ? 'nodeos' : name;
}
