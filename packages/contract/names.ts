/** Names that the host, the guest's TypeScript and PID 1's C share. `header.ts` exports them to C. */

/** Virtio-serial ports, by purpose. */
export const PORTS = {
  /** JSON lines from the guest (events.ts); lines from the host: `poweroff`, `reboot`, `listens PORT`. */
  events: 'nodeos.events',
  /** One line of JSON for the guest: `RunConfig`. */
  settings: 'nodeos.settings',
  /** The output of `--exec` code. */
  stdout: 'nodeos.stdout',
  stderr: 'nodeos.stderr',
  /** `nodeos dev`: `restart` from the host; JSON lines from the guest, `DevReport`. */
  control: 'nodeos.control',
} as const;

/** Words of the kernel command line. Each is followed by `=` and a value; see docs/init.md. */
export const WORDS = {
  /** `reboot|poweroff|halt|shell`: what happens after the application ends. */
  onExit: 'nodeos.onexit',
  /** `never|on-failure|always`. */
  restart: 'nodeos.restart',
  /** Failures in a row before PID 1 gives up; 0: never. */
  attempts: 'nodeos.attempts',
  /** `reset`: the machine cannot power off, but ends on a reset. */
  powerOff: 'nodeos.poweroff',
  /** `off`: the init does not configure the network. */
  network: 'nodeos.network',
  hostName: 'nodeos.hostname',
  /** The device of a container's image: `ContainerConfig`. */
  container: 'nodeos.container',
  /** `tmpfs|nbd[s]://…|/dev/…`: the filesystem for changes to a root on the network, or to a container's image. */
  upper: 'nodeos.upper',
  /** Number of bytes to read ahead. */
  readAhead: 'nodeos.readahead',
  /** Seconds to wait for the server of the root. */
  nbdWait: 'nodeos.nbd.wait',
  /** Seconds without a server after which requests fail; 0: they wait for ever. */
  nbdTimeout: 'nodeos.nbd.timeout',
  /** `PARTLABEL=…|PARTUUID=…|/dev/…`: the users' data, an ext4 filesystem. */
  data: 'nodeos.data',
  /** Seconds after which the hardware's watchdog resets a machine whose PID 1 does not run. */
  watchdog: 'nodeos.watchdog',
  /** `a|b`: the slot that a boot loader has started. */
  slot: 'nodeos.slot',
  /** The same meaning as in systemd's kernel-command-line(7). */
  usr: 'mount.usr',
  usrType: 'mount.usrfstype',
  usrFlags: 'mount.usrflags',
} as const;

/** Formats a word with its value for the kernel command line. */
export const word = (name: keyof typeof WORDS, value: string | number): string => `${WORDS[name]}=${value}`;

/** Paths in the guest. */
export const PATHS = {
  node: '/bin/node',
  /** The guest's TypeScript, bundled into one file. */
  init: '/sbin/init',
  /** The init's addon: system calls that Node.js lacks. */
  addon: '/sbin/syscalls.node',
  /** The description of the application: `SystemConfig`. */
  system: '/etc/nodeos.json',
  /** The application's project folder. */
  app: '/app',
  /** The application's home folder. */
  home: '/home/app',
  /** The users' data, if the machine has a partition for them. */
  data: '/data',
  /** The terminal that all consoles share, on a machine with several. */
  terminal: '/dev/pts/0',
  /** A library of the runtime, relative to /usr, that is preloaded into programs. */
  preload: '/lib/preload.so',
  /** The secret end of the exports' names, in the initramfs for a root on the network. */
  nbdSecret: '/nbd/secret',
  /** The folder with the TLS files in that initramfs: the handshake program and keys. */
  tls: '/tls',
  tlsHandshake: '/tls/handshake',
} as const;

/** Converts a guest path to the form used in trees and archives: `sbin/init`. */
export const entryPath = (path: string): string => path.replace(/^\//, '');

/** User id and group id of the application. */
export const APP_ID = 1000;
export const APP_USER = 'app';
