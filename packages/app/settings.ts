/** The settings of an application's system. Those of package.json are a part of them. */
import type { SystemConfig } from '@nodeos/contract';

/** What package.json's `nodeos` may say; see docs/app.md. */
export interface ManifestSettings {
  /** Replaces scripts.start. */
  readonly start?: string;
  /** `copy`: use the folder's node_modules unchanged. Default: `install`. */
  readonly modules?: 'install' | 'copy';
  readonly user?: SystemConfig['user'];
  readonly restart?: SystemConfig['restart'];
  readonly onexit?: SystemConfig['onexit'];
  readonly env?: Readonly<Record<string, string>>;
  /** What `nodeos build` makes if nothing is named: `disk`, `iso.xz`. Their names are checked where they are known. */
  readonly formats?: readonly string[];
}

/** What the init does with the machine, checked by whoever reads a configuration. It is written to nodeos.json. */
export interface MachineSettings {
  readonly hostname?: string;
  readonly network?: 'dhcp' | 'off' | NetworkSettings;
  /** Names or IPv4 addresses. */
  readonly timeServers?: readonly string[];
}

export interface NetworkSettings {
  /** By name or MAC address. */
  readonly interfaces?: Readonly<Record<string, 'dhcp' | StaticSettings>>;
  readonly dns?: readonly string[];
  readonly domain?: string;
}

export interface StaticSettings {
  /** `192.168.1.10/24`. */
  readonly address: string;
  readonly gateway?: string;
  /** Gateways by destination. */
  readonly routes?: Readonly<Record<string, string>>;
  readonly mtu?: number;
}

export interface Settings extends ManifestSettings, MachineSettings {
  /** Absolute paths of files and folders of this machine, by their absolute paths in the system. */
  readonly files?: Readonly<Record<string, string>>;
}

/** The settings that the init reads. */
export function machineSettings({ hostname, network, timeServers }: Settings): MachineSettings {
  return {
    ...(hostname === undefined ? {} : { hostname }),
    ...(network === undefined ? {} : { network }),
    ...(timeServers === undefined ? {} : { timeServers }),
  };
}

/** Settings of a package.json without those that only the reader of a whole configuration checks. */
export const manifestSettings = (settings: Settings): ManifestSettings =>
  Object.fromEntries(
    Object.entries(settings).filter(([name]) => !['hostname', 'network', 'timeServers', 'files'].includes(name)),
  );
