/** Names that the host, the guest's TypeScript and PID 1's C must spell alike. `header.ts` gives them to C. */

/** Virtio-serial ports, by what goes over them. */
export const PORTS = {
  /** JSON lines from the guest (events.ts); `poweroff` or `reboot` from the host. */
  events: 'nodeos.events',
  /** One line of JSON for the guest: `RunConfig`. */
  settings: 'nodeos.settings',
  /** What code of `--exec` writes. */
  stdout: 'nodeos.stdout',
  stderr: 'nodeos.stderr',
} as const;

/** Words of the kernel's command line. Each is followed by `=` and a value; see docs/init.md. */
export const WORDS = {
  /** `reboot|poweroff|halt|shell`: what follows the end of the application. */
  onExit: 'nodeos.onexit',
  /** `never|on-failure|always`. */
  restart: 'nodeos.restart',
  /** Failures in a row before PID 1 gives up; 0: it never does. */
  attempts: 'nodeos.attempts',
  /** `reset`: the machine cannot power off, but ends when it is reset. */
  powerOff: 'nodeos.poweroff',
  /** `off`: the network is left alone. */
  network: 'nodeos.network',
  hostName: 'nodeos.hostname',
  /** `tmpfs|nbd[s]://…`: where the changes of a root on the network go. */
  upper: 'nodeos.upper',
  /** Bytes. */
  readAhead: 'nodeos.readahead',
  /** Seconds for the server of a root to come. */
  nbdWait: 'nodeos.nbd.wait',
  /** Seconds without a server after which requests fail; 0: they wait. */
  nbdTimeout: 'nodeos.nbd.timeout',
  /** As in systemd's kernel-command-line(7). */
  usr: 'mount.usr',
  usrType: 'mount.usrfstype',
  usrFlags: 'mount.usrflags',
} as const;

/** A word with its value, for the kernel's command line. */
export const word = (name: keyof typeof WORDS, value: string | number): string => `${WORDS[name]}=${value}`;

/** Files of the guest. */
export const PATHS = {
  node: '/bin/node',
  /** The guest's TypeScript, as one file. */
  init: '/sbin/init',
  /** What the application is: `SystemConfig`. */
  system: '/etc/nodeos.json',
  /** Where the application's project is. */
  app: '/app',
  /** The application's home. */
  home: '/home/app',
  /** A library of the runtime, below /usr, that programs load before all others. */
  preload: '/lib/preload.so',
  /** The end of each export's name, in the initramfs of a root on the network. */
  nbdSecret: '/nbd/secret',
  /** What TLS needs, in that initramfs: the program that begins connections, and keys. */
  tls: '/tls',
  tlsHandshake: '/tls/handshake',
} as const;

/** A path of the guest's, as trees and archives name it: `sbin/init`. */
export const entryPath = (path: string): string => path.replace(/^\//, '');

/** Ids of the application's user and group. */
export const APP_ID = 1000;
export const APP_USER = 'app';
