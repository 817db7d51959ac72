/** `/sbin/init`: PID 1 starts it with a role. See native/pid1.c for what the two say to each other. */
import { boot, hostNameOf, type BootContext } from './boot.js';
import { become, becomeRepl } from './become.js';
import { readConfig } from './config.js';
import { bringUp, LEASE, renew, type Lease } from './network.js';
import { Report } from './report.js';
import { LinuxSyscalls } from './syscalls.js';

const ROLES: Readonly<Record<string, (context: BootContext) => void>> = {
  /** Brings the machine up, then becomes what it is for. */
  boot(context) {
    boot(context);
    policies(context);
    context.report.tell('booted');
    become(context);
  },

  /** Once more, on a machine that is up. */
  start: (context) => become(context),

  /** A REPL on the console of a machine whose application has ended. */
  shell: (context) => becomeRepl(context, true),

  /** Keeps the address. */
  renew({ sys, config, report }) {
    const hostName = hostNameOf(config);
    const lease = sys.exists(LEASE)
      ? renew(sys, JSON.parse(sys.read(LEASE).toString()) as Lease, hostName)
      : bringUp(sys, config.cmdline, hostName);
    if (lease) report.tell(`renew ${Math.max(30, Math.floor(lease.renewal))}`);
    report.event('renewed', { address: lease?.address });
  },
};

/** What PID 1 is to do when the application ends. The kernel's command line has the last word. */
function policies({ config, report }: BootContext): void {
  const { app, cmdline, run } = config;
  const interactive = run.exec !== undefined || !app;
  const onexit = cmdline.get('nodeos.onexit') ?? app?.onexit;
  if (onexit !== undefined) report.tell(`onexit ${onexit}`);
  report.tell(`restart ${cmdline.get('nodeos.restart') ?? (interactive ? 'never' : app.restart)}`);
  report.tell(`attempts ${cmdline.get('nodeos.attempts') ?? '0'}`);
}

const sys = new LinuxSyscalls('/lib/nodeos/syscalls.node');
const report = new Report(sys);
try {
  const role = ROLES[process.argv[2] ?? 'boot'];
  if (!role) throw new Error(`no such role: ${String(process.argv[2])}`);
  report.event('node', { role: process.argv[2] });
  role({ sys, report, config: readConfig(sys) });
} catch (error) {
  report.say(`${process.argv[2] ?? 'boot'}: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
