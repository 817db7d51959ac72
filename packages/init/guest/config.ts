/**
 * What the init is to do, from three places: `/etc/nodeos.json` in the image (the application), the kernel's command
 * line (`nodeos.*`), and, under QEMU, a line of JSON that `nodeos start` hands over on a virtio-serial port.
 */
import type { Syscalls } from './syscalls.js';

/** What Node.js runs. */
export interface Program {
  /** Absolute path of the module to run. */
  readonly main: string;
  /** An argument with variables in it is a list of pieces. */
  readonly args: readonly (string | readonly (string | Variable)[])[];
  /** Options for Node.js itself; if there are any, Node.js is started once more. */
  readonly nodeArgs: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** `$NAME` in an argument. */
export interface Variable {
  readonly name: string;
  /** Where it is not set, or empty. */
  readonly fallback?: string;
  /** Its value stays one word. */
  readonly quoted: boolean;
}

/** `/etc/nodeos.json`: written by the users' layer. */
export interface AppConfig extends Program {
  readonly name: string;
  /** What runs to its end before, one after the other. */
  readonly first?: readonly (Program & { /** for messages */ readonly from: string })[];
  readonly cwd: string;
  /** `app` (uid 1000), or `root`. */
  readonly user: 'app' | 'root';
  readonly restart: 'never' | 'on-failure' | 'always';
  readonly onexit?: 'reboot' | 'poweroff' | 'halt' | 'shell';
}

/** What `nodeos start` hands over. */
export interface RunConfig {
  /** Code to run instead of the application or the REPL. */
  readonly exec?: string;
  /** Hexadecimal; credited to the kernel's random number generator. */
  readonly seed?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The size of the user's terminal. */
  readonly columns?: number;
  readonly rows?: number;
}

export interface Config {
  /** Words of the kernel's command line; the last of two equal names wins. */
  readonly cmdline: ReadonlyMap<string, string>;
  readonly app?: AppConfig;
  readonly run: RunConfig;
}

const APP = '/etc/nodeos.json';
/** The port can be read once; what it said is kept here for later starts of the init. */
export const KEPT_SETTINGS = '/run/nodeos/settings.json';
export const SETTINGS_PORT = 'nodeos.settings';
const PORTS = '/sys/class/virtio-ports';

/** @throws Error naming the file that cannot be read. */
export function readConfig(sys: Syscalls): Config {
  const cmdline = parseCommandLine(sys.read('/proc/cmdline').toString());
  const app = readJson(sys, APP) as AppConfig | undefined;
  const kept = readJson(sys, KEPT_SETTINGS) as RunConfig | undefined;
  return { cmdline, run: kept ?? readSettings(sys), ...(app ? { app } : {}) };
}

/** What the host hands over, if there is a host that does. */
function readSettings(sys: Syscalls): RunConfig {
  const device = portDevice(sys, SETTINGS_PORT);
  if (device === undefined) return {};
  return (parse(device, sys.readLine(device)) as RunConfig | undefined) ?? {};
}

/** The device of a virtio-serial port, by the name that the host gave it. */
export function portDevice(sys: Syscalls, name: string): string | undefined {
  if (!sys.exists(PORTS)) return undefined;
  const device = sys.list(PORTS).find((port) => sys.read(`${PORTS}/${port}/name`).toString().trim() === name);
  return device === undefined ? undefined : `/dev/${device}`;
}

function readJson(sys: Syscalls, path: string): unknown {
  return sys.exists(path) ? parse(path, sys.read(path).toString()) : undefined;
}

function parse(path: string, text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

export function parseCommandLine(line: string): Map<string, string> {
  const words = line
    .trim()
    .split(/\s+/)
    .filter((word) => word !== '');
  return new Map(
    words.map((word) => {
      const at = word.indexOf('=');
      return at < 0 ? [word, ''] : [word.slice(0, at), word.slice(at + 1)];
    }),
  );
}
