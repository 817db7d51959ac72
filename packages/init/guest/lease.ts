/**
 * Configures an interface from a lease. The parts are independent: a part that fails is reported by name and left out,
 * and the rest is configured. Only the address is mandatory.
 *
 * Interface requests: netdevice(7), struct ifreq.
 */
import { addressBytes, prefixOf, type Reply, type Route } from './dhcp.js';
import { addRoute, orderRoutes, removeRoute, routeText } from './routes.js';
import type { Syscalls } from './syscalls.js';

const AF_INET = 2;
const SIOCSIFADDR = 0x8916;
const SIOCSIFNETMASK = 0x891c;
const SIOCSIFMTU = 0x8922;

/** A JSON list of the leases that are held. */
export const LEASES = '/run/nodeos/leases.json';

/** Seconds between two renewals, at least. */
const SHORTEST_RENEWAL = 30;

/** The lease of an interface, kept for its renewal. */
export interface Lease extends Reply {
  readonly interface: string;
  /** Of its routes: of two routes to one destination, the kernel takes that of the lower metric. */
  readonly metric: number;
  /** When to renew it, in microseconds since boot. */
  readonly renewAt: number;
}

/** The leases that are held. */
export const leasesIn = (sys: Syscalls): Lease[] =>
  sys.exists(LEASES) ? (JSON.parse(sys.read(LEASES).toString()) as Lease[]) : [];

/** Keeps a lease in place of that of the same interface. @returns all leases, the preferred ones first */
const withLease = (sys: Syscalls, lease: Lease): Lease[] =>
  [...leasesIn(sys).filter((other) => other.interface !== lease.interface), lease].sort((a, b) => a.metric - b.metric);

/** Whether a lease is to be renewed now, or so soon that one run does for it too. */
export const isDue = (sys: Syscalls, { renewAt }: Lease): boolean => renewAt - sys.now() <= SHORTEST_RENEWAL * 1e6;

/** When a lease that starts now is to be renewed, in microseconds since boot. */
export const renewalOf = (sys: Syscalls, { renewal }: Pick<Reply, 'renewal'>): number =>
  sys.now() + Math.max(SHORTEST_RENEWAL, Math.floor(renewal)) * 1e6;

/** Receives a message for each part that is left out. */
export type Log = (text: string) => void;

/**
 * Applies a lease to an interface.
 * @param metric of its routes
 * @param previous the lease being renewed: its messages are not repeated, and its obsolete routes are removed
 * @throws Error if the address cannot be set
 */
export function configure(
  sys: Syscalls,
  control: number,
  name: string,
  reply: Reply,
  log: Log,
  metric: number,
  previous?: Lease,
): Lease {
  const leftOut: string[] = [];
  const report = (text: string): void => {
    leftOut.push(text);
    if (!previous?.leftOut.includes(text)) log(`${name}: ${text}`);
  };
  const attempt = (subject: string, work: () => void): void => {
    try {
      work();
    } catch (error) {
      report(`the ${subject} is left out: ${(error as Error).message}`);
    }
  };
  for (const text of reply.leftOut) report(text);
  const lease: Lease = { ...reply, leftOut, interface: name, metric, renewAt: renewalOf(sys, reply) };
  const leases = withLease(sys, lease);
  attempt('list of name servers', () => sys.write('/etc/resolv.conf', resolvConf(leases)));
  const wanted = setAddress(sys, control, name, reply, attempt, metric);
  if (previous) removeStale(sys, previous, wanted);
  attempt('note of the lease, for its renewal,', () => sys.write(LEASES, JSON.stringify(leases)));
  return lease;
}

/**
 * Sets an interface's MTU, address, mask and routes.
 * @param attempt does the work, and reports the subject if it fails
 * @param metric of the routes
 * @returns the routes that are wanted
 * @throws Error if the address cannot be set
 */
export function setAddress(
  sys: Syscalls,
  control: number,
  name: string,
  { mtu, address, mask, routes = [] }: Pick<Reply, 'mtu' | 'address' | 'mask' | 'routes'>,
  attempt: (subject: string, work: () => void) => void,
  metric = 0,
): Route[] {
  if (mtu !== undefined) attempt(`MTU ${mtu}`, () => sys.ioctl(control, SIOCSIFMTU, request(name, int32(mtu))));
  try {
    sys.ioctl(control, SIOCSIFADDR, request(name, socketAddress(address)));
  } catch (error) {
    throw new Error(`the address ${address}: ${(error as Error).message}`, { cause: error });
  }
  attempt(`mask ${mask}`, () => sys.ioctl(control, SIOCSIFNETMASK, request(name, socketAddress(mask))));
  const wanted = orderRoutes(routes, address, prefixOf(mask));
  for (const route of wanted) attempt(routeText(route), () => addRoute(sys, name, route, metric));
  return wanted;
}

function removeStale(sys: Syscalls, previous: Lease, wanted: readonly Route[]): void {
  const existing = orderRoutes(previous.routes ?? [], previous.address, prefixOf(previous.mask));
  const targets = new Set(wanted.map(({ destination, prefix }) => `${destination}/${prefix}`));
  for (const route of existing.reverse()) {
    if (targets.has(`${route.destination}/${route.prefix}`)) continue;
    try {
      removeRoute(sys, previous.interface, route, previous.metric);
    } catch {
      // the route disappeared with the old address, or never existed
    }
  }
}

/** What `/etc/resolv.conf` says: the domains and name servers of all sources, each once, those of the first source first. */
export function resolvConf(sources: readonly Partial<Pick<Reply, 'dns' | 'domain'>>[]): string {
  const domains = new Set(sources.flatMap(({ domain }) => domain ?? []));
  const servers = new Set(sources.flatMap(({ dns }) => dns ?? []));
  const search = domains.size === 0 ? [] : [`search ${[...domains].join(' ')}`];
  return [...search, ...[...servers].map((address) => `nameserver ${address}`), ''].join('\n');
}

/** struct ifreq: the name in 16 bytes, then a value in 24 bytes. */
export function request(name: string, value: Buffer): Buffer {
  const bytes = Buffer.alloc(40);
  bytes.write(name, 0, 15, 'latin1');
  value.copy(bytes, 16);
  return bytes;
}

/** struct sockaddr_in. */
export function socketAddress(address: string, port = 0): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  addressBytes(address).copy(bytes, 4);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}
