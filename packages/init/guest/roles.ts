/** The roles that PID 1 starts the init with. */
import { PORTS, WORDS } from '@nodeos/contract';
import { become, becomeRepl, type Run } from './become.js';
import { boot, keepNetwork, keepTime, NETWORK_AGAIN, networkSetupOf, type BootContext } from './boot.js';
import { KEPT_SETTINGS, portDevice, readConfig } from './config.js';
import { Report } from './report.js';
import type { Syscalls } from './syscalls.js';

/** Seconds that the clock may be wrong by while the application runs: a jump would harm it more. */
const TOLERANCE = 1;

type Role = (context: BootContext, run?: Run) => void;

const ROLES: ReadonlyMap<string, Role> = new Map<string, Role>([
  /** Boots the machine, then becomes the application, the REPL or the code. */
  [
    'boot',
    (context, run) => {
      boot(context);
      storeSettings(context);
      sendPolicies(context);
      context.report.sendCommand('booted');
      become(context, run);
    },
  ],
  /** Starts the application again on a booted machine. */
  ['start', (context, run) => become(context, run)],
  /** Starts a REPL on the console after the application has ended. */
  ['shell', (context) => becomeRepl(context, true)],
  /** Renews the leases that are due, tries again what has failed, and asks the time servers. */
  [
    'renew',
    (context) => {
      try {
        for (const { interface: name, address } of keepNetwork(context, 'renew', NETWORK_AGAIN))
          context.report.event('renewed', { interface: name, address });
      } finally {
        compareTime(context); // one interface of several may have failed
      }
    },
  ],
]);

/** Sets the clock if the time servers disagree with it. */
function compareTime({ sys, config, report }: BootContext): void {
  const { timeServers } = config.machine;
  if (timeServers.length === 0 || networkSetupOf(config) === 'off') return;
  try {
    keepTime(sys, timeServers, report, TOLERANCE);
  } catch (error) {
    report.log(`renew: time: ${(error as Error).message}`);
  }
}

/** Plays a role. @returns whether it succeeded; if not, the console shows the error */
export function runRole(name: string, sys: Syscalls, run?: Run): boolean {
  const report = new Report(sys);
  try {
    const role = ROLES.get(name);
    if (!role) throw new Error('no such role');
    report.event('node', { role: name });
    role({ sys, report, config: readConfig(sys) }, run);
    return true;
  } catch (error) {
    report.log(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

/**
 * Keeps the host's settings without the seed for later starts of the init, even if they are empty: the port can be read
 * only once.
 */
function storeSettings({ sys, config }: BootContext): void {
  const settings = Object.fromEntries(Object.entries(config.run).filter(([name]) => name !== 'seed'));
  if (!sys.exists(KEPT_SETTINGS) && portDevice(sys, PORTS.settings) !== undefined) {
    sys.write(KEPT_SETTINGS, JSON.stringify(settings));
  }
}

/** Tells PID 1 what to do when the application ends. The kernel command line overrides the application's settings. */
function sendPolicies({ config, report }: BootContext): void {
  const { app, cmdline, run } = config;
  const { exec, container } = run;
  const once = exec !== undefined || container !== undefined || !app;
  const onexit = cmdline.get(WORDS.onExit) ?? app?.onexit;
  if (onexit !== undefined) report.sendCommand(`onexit ${onexit}`);
  report.sendCommand(`restart ${cmdline.get(WORDS.restart) ?? (once ? 'never' : app.restart)}`);
  report.sendCommand(`attempts ${cmdline.get(WORDS.attempts) ?? '0'}`);
  if (container) report.sendCommand(`signal ${container.stopSignal}`);
}
