/**
 * What the init is to do, from three places: `/etc/nodeos.json` in the image (the application), the kernel's command
 * line (`nodeos.*`), and, under QEMU, a line of JSON that `nodeos start` hands over on a virtio-serial port.
 */
import { checkSystemConfig, PATHS, PORTS, type RunConfig, type SystemConfig } from '@nodeos/contract';
import type { Syscalls } from './syscalls.js';

export interface Config {
  /** Words of the kernel's command line; the last of two equal names wins. */
  readonly cmdline: ReadonlyMap<string, string>;
  readonly app?: SystemConfig;
  readonly run: RunConfig;
}

/** The port can be read once; what it said is kept here for later starts of the init. */
export const KEPT_SETTINGS = '/run/nodeos/settings.json';
const PORT_FOLDER = '/sys/class/virtio-ports';

/** @throws Error naming the file that cannot be read. */
export function readConfig(sys: Syscalls): Config {
  const cmdline = parseCommandLine(sys.read('/proc/cmdline').toString());
  const app = readSystem(sys);
  const kept = readJson(sys, KEPT_SETTINGS) as RunConfig | undefined;
  return { cmdline, run: kept ?? readSettings(sys), ...(app ? { app } : {}) };
}

function readSystem(sys: Syscalls): SystemConfig | undefined {
  const value = readJson(sys, PATHS.system);
  if (value === undefined) return undefined;
  try {
    return checkSystemConfig(value);
  } catch (error) {
    throw new Error(`${PATHS.system}: ${(error as Error).message}`, { cause: error });
  }
}

/** What the host hands over, if there is a host that does. */
function readSettings(sys: Syscalls): RunConfig {
  const device = portDevice(sys, PORTS.settings);
  if (device === undefined) return {};
  return (parse(device, sys.readLine(device)) as RunConfig | undefined) ?? {};
}

/** The device of a virtio-serial port, by the name that the host gave it. */
export function portDevice(sys: Syscalls, name: string): string | undefined {
  if (!sys.exists(PORT_FOLDER)) return undefined;
  const device = sys
    .list(PORT_FOLDER)
    .find((port) => sys.read(`${PORT_FOLDER}/${port}/name`).toString().trim() === name);
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
