/**
 * The part of `/etc/nodeos.json` that describes the machine: its name, addresses and time servers. The build has
 * checked it; whatever does not have the form is an error that names it.
 */
import { isIPv4 } from 'node:net';
import type { SystemConfig } from '@nodeos/contract';

export interface StaticSetup {
  readonly address: string;
  readonly prefix: number;
  readonly gateway?: string;
  readonly routes: readonly { readonly destination: string; readonly prefix: number; readonly gateway: string }[];
  readonly mtu?: number;
}

/** What an interface gets, by its name or its MAC address. */
export interface InterfaceSetup {
  readonly interface: string;
  readonly setup: 'dhcp' | StaticSetup;
}

export interface NetworkSetup {
  /** Empty: DHCP on the first interface with a server. */
  readonly interfaces: readonly InterfaceSetup[];
  /** In place of those of a DHCP server. */
  readonly dns?: readonly string[];
  readonly domain?: string;
}

export interface MachineSetup {
  readonly hostName?: string;
  readonly network: 'off' | NetworkSetup;
  /** Names or IPv4 addresses. */
  readonly timeServers: readonly string[];
}

const MAX_LIST = 64;

/** @param app the contents of nodeos.json @throws Error naming the wrong field */
export function machineSetupOf(app: SystemConfig | undefined): MachineSetup {
  const { hostname, network = 'dhcp', timeServers } = (app ?? {}) as Readonly<Record<string, unknown>>;
  return {
    ...(hostname === undefined ? {} : { hostName: text('hostname', hostname) }),
    network: network === 'off' ? network : networkOf(network),
    timeServers: timeServers === undefined ? [] : listOf('timeServers', timeServers, text),
  };
}

function networkOf(value: unknown): NetworkSetup {
  if (value === 'dhcp') return { interfaces: [] };
  const { interfaces, dns, domain } = record('network', value);
  const entries = Object.entries(interfaces === undefined ? {} : record('network.interfaces', interfaces));
  return {
    interfaces: entries.map(([name, setup]) => ({
      interface: name,
      setup: setupOf(`network.interfaces.${name}`, setup),
    })),
    ...(dns === undefined ? {} : { dns: listOf('network.dns', dns, ipv4) }),
    ...(domain === undefined ? {} : { domain: text('network.domain', domain) }),
  };
}

function setupOf(field: string, value: unknown): InterfaceSetup['setup'] {
  if (value === 'dhcp') return value;
  const { address, gateway, routes, mtu } = record(field, value);
  const pairs = Object.entries(routes === undefined ? {} : record(`${field}.routes`, routes));
  const own = network(`${field}.address`, address);
  return {
    address: own.destination,
    prefix: own.prefix,
    routes: pairs.map(([destination, by]) => ({ ...network(field, destination), gateway: ipv4(field, by) })),
    ...(gateway === undefined ? {} : { gateway: ipv4(`${field}.gateway`, gateway) }),
    ...(mtu === undefined ? {} : { mtu: number(`${field}.mtu`, mtu) }),
  };
}

/** An address and the length of its prefix. */
function network(field: string, value: unknown): { destination: string; prefix: number } {
  const [address, prefix] = text(field, value).split('/');
  const length = Number(prefix);
  if (!Number.isInteger(length) || length < 0 || length > 32) throw new Error(`${field} has no length of a prefix`);
  return { destination: ipv4(field, address), prefix: length };
}

function text(field: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error(`${field} is no text`);
}

function number(field: string, value: unknown): number {
  if (Number.isInteger(value)) return value as number;
  throw new Error(`${field} is no whole number`);
}

function ipv4(field: string, value: unknown): string {
  if (typeof value === 'string' && isIPv4(value)) return value;
  throw new Error(`${field} is no IPv4 address`);
}

function record(field: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error(`${field} is no object`);
}

function listOf<T>(field: string, value: unknown, check: (field: string, item: unknown) => T): T[] {
  if (!Array.isArray(value) || value.length > MAX_LIST) throw new Error(`${field} is no list of at most ${MAX_LIST}`);
  return value.map((item) => check(field, item));
}
