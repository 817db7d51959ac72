/**
 * Reads the init's configuration from three places: `/etc/nodeos.json` in the image (the application), the kernel
 * command line (`nodeos.*`), and under QEMU a line of JSON that `nodeos start` sends over a virtio-serial port.
 */
import { checkSystemConfig, PATHS, PORTS, type RunConfig, type SystemConfig } from '@nodeos/contract';
import { machineSetupOf, type MachineSetup } from './machine.js';
import type { Syscalls } from './syscalls.js';

export interface Config {
  /** Words of the kernel command line. The last of several words with the same name wins. */
  readonly cmdline: ReadonlyMap<string, string>;
  readonly app?: SystemConfig;
  readonly machine: MachineSetup;
  readonly run: RunConfig;
}

/** The port can be read only once. Its content is kept here for later starts of the init. */
export const KEPT_SETTINGS = '/run/nodeos/settings.json';
const PORT_FOLDER = '/sys/class/virtio-ports';

/** @throws Error naming the unreadable file */
export function readConfig(sys: Syscalls): Config {
  const cmdline = parseCommandLine(sys.read('/proc/cmdline').toString());
  const app = readSystem(sys);
  const stored = readJson(sys, KEPT_SETTINGS) as RunConfig | undefined;
  return { cmdline, run: stored ?? readSettings(sys), ...app };
}

function readSystem(sys: Syscalls): Pick<Config, 'app' | 'machine'> {
  const value = readJson(sys, PATHS.system);
  if (value === undefined) return { machine: machineSetupOf(undefined) };
  try {
    const app = checkSystemConfig(value);
    return { app, machine: machineSetupOf(app) };
  } catch (error) {
    throw new Error(`${PATHS.system}: ${(error as Error).message}`, { cause: error });
  }
}

/** Reads the settings from the host; empty if the host sends none. */
function readSettings(sys: Syscalls): RunConfig {
  const device = portDevice(sys, PORTS.settings);
  if (device === undefined) return {};
  return (parse(device, sys.readLine(device)) as RunConfig | undefined) ?? {};
}

/** Finds the device of a virtio-serial port by its name on the host. */
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
