/**
 * The boot as a table: each step has a name, which it reports when it fails, and works through `Syscalls` alone.
 * A step that fails does not end the boot: an appliance without a network, or with a dead clock, should still run.
 */
import { WORDS } from '@nodeos/contract';
import type { Config } from './config.js';
import { everyOne, mountAll } from './mounts.js';
import { bringUp } from './network.js';
import type { Report } from './report.js';
import type { Syscalls } from './syscalls.js';

export interface BootContext {
  readonly sys: Syscalls;
  readonly config: Config;
  readonly report: Report;
}

export interface BootStep {
  readonly name: string;
  run(context: BootContext): void;
}

/** Files below /proc/sys. https://docs.kernel.org/admin-guide/sysctl/ */
const SYSCTLS: readonly (readonly [string, string])[] = [
  // The one application of the machine may have port 80 without being root; what is below it is the system's own.
  ['net/ipv4/ip_unprivileged_port_start', '80'],
  // Nobody is root in a namespace of his own.
  ['user/max_user_namespaces', '0'],
  // Addresses in the kernel, for nobody.
  ['kernel/kptr_restrict', '2'],
  // Of the commands to the kernel by keyboard or serial line only the one that syncs. (For none at all the boot waits 20 ms.)
  ['kernel/sysrq', '16'],
  // Who traces a process must have started it.
  ['kernel/yama/ptrace_scope', '1'],
  // What would outlive the application: memory of System V is gone with its last user, messages and semaphores are few.
  ['kernel/shm_rmid_forced', '1'],
  ['kernel/msgmni', '128'],
  ['kernel/sem', '250 32000 32 128'],
  // In folders where everybody writes, such as /tmp, nobody is led astray by files of others.
  ['fs/protected_symlinks', '1'],
  ['fs/protected_hardlinks', '1'],
  ['fs/protected_fifos', '2'],
  ['fs/protected_regular', '2'],
];

/** struct rand_pool_info (random(4)): bits of entropy, bytes of data, the data. */
const RNDADDENTROPY = 0x40085203;
const O_WRONLY = 1;

/** No clock is right that is before this image's sources: 2026-09-01T00:00:00Z, in seconds. */
const CLOCK_FLOOR = 1788220800;

/** How long to wait before asking a silent network again, in seconds. */
const NETWORK_RETRY = 30;

export const STEPS: readonly BootStep[] = [
  {
    name: 'mounts',
    run: ({ sys }) => mountAll(sys),
  },
  {
    name: 'settings',
    run({ sys }) {
      everyOne(
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
      if (seed.length === 0) return; // virtio-rng, RDRAND or the firmware's seed have to do
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
      const now = sys.clock(); // the kernel has read the hardware clock
      if (now >= CLOCK_FLOOR) return;
      report.say(
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
    run({ sys, config, report }) {
      if (config.cmdline.get(WORDS.network) === 'off') return;
      try {
        const say = (text: string): void => report.say(`network: ${text}`);
        const lease = bringUp(sys, config.cmdline, hostNameOf(config), say);
        if (lease) report.tell(`renew ${Math.max(30, Math.floor(lease.renewal))}`);
      } catch (error) {
        report.tell(`renew ${NETWORK_RETRY}`);
        throw error;
      }
    },
  },
];

/** Runs every step, in order; each is reported with the time it took, and by name if it fails. */
export function boot(context: BootContext, steps: readonly BootStep[] = STEPS): void {
  for (const step of steps) {
    const started = context.sys.now();
    try {
      step.run(context);
      context.report.event('step', { step: step.name, took: context.sys.now() - started });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      context.report.say(`${step.name}: ${message}`);
      context.report.event('step', { step: step.name, took: context.sys.now() - started, error: message });
    }
  }
}

/** `nodeos.hostname=`, else the application's name cut to what a host name may have, else `nodeos`. */
export function hostNameOf(config: Config): string {
  const wanted = config.cmdline.get(WORDS.hostName) ?? config.app?.name.replace(/^@[^/]*\//, '') ?? '';
  const name = wanted
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 63)
    .replace(/-+$/, '');
  return name === '' ? 'nodeos' : name;
}
