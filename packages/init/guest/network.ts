/**
 * The network: loopback, and the first wired interface that a DHCP server answers on; or what the kernel's `ip=`
 * has set up. IPv6 addresses and routes come from the kernel itself (router advertisements).
 *
 * Interface requests: netdevice(7), struct ifreq; routes: struct rtentry (linux/route.h). DHCP over a UDP socket that
 * is bound to the interface, which Linux lets send and receive broadcasts before there is an address.
 */
import {
  addressBytes,
  addressText,
  ACK,
  DISCOVER,
  decodeReply,
  encodeQuery,
  NAK,
  OFFER,
  REQUEST,
  type Query,
  type Reply,
} from './dhcp.js';
import type { Syscalls } from './syscalls.js';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_BROADCAST = 6;
const SO_BINDTODEVICE = 25;

const SIOCADDRT = 0x890b;
const SIOCSIFFLAGS = 0x8914;
const SIOCGIFADDR = 0x8915;
const SIOCSIFADDR = 0x8916;
const SIOCGIFNETMASK = 0x891b;
const SIOCSIFNETMASK = 0x891c;
const SIOCSIFMTU = 0x8922;
const IFF_UP_RUNNING = 0x41;
const RTF_UP_GATEWAY = 3;

const BROADCAST = '255.255.255.255';
const CLIENT_PORT = 68;
const SERVER_PORT = 67;
const CARRIER_MS = 5000;
const RUNNING_MS = 2000;
/** Values of `operstate`; a driver that does not know its link leaves it unknown. */
const RUNNING: readonly string[] = ['up', 'unknown'];
/** How long the client waits for each answer. RFC 2131 says 4, 8, 16 s: an appliance on a quick link need not. */
const PATIENCE_MS = [1000, 2000, 3000, 4000];

export const LEASE = '/run/nodeos/lease.json';

/** What is kept of an interface's set-up, for the renewal. */
export interface Lease extends Reply {
  readonly interface: string;
}

/** The kernel does not tell how long its lease is: soon it is renewed, and then the server says. In seconds. */
const KERNEL_LEASE = 60;

/** @returns the lease, or undefined if the kernel's `ip=` has set up an address for good. @throws Error saying what is missing. */
export function bringUp(sys: Syscalls, cmdline: ReadonlyMap<string, string>, hostName: string): Lease | undefined {
  const control = sys.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  try {
    up(sys, control, 'lo');
    const interfaces = wired(sys);
    if (interfaces.length === 0) throw new Error('there is no network interface');
    const ip = cmdline.get('ip');
    if (ip !== undefined && ip !== 'off' && ip !== 'none') return adoptKernelSetup(sys, control, interfaces);
    const failures = new Map<string, string>();
    // One that fails must not keep the others from being tried.
    const trying = <T>(name: string, work: () => T): T | undefined => {
      try {
        return work();
      } catch (error) {
        failures.set(name, (error as Error).message);
        return undefined;
      }
    };
    for (const name of interfaces) trying(name, () => up(sys, control, name));
    for (const name of interfaces.filter((one) => !failures.has(one))) {
      const lease = trying(name, () => obtain(sys, control, name, hostName));
      if (!lease) continue;
      awaitRunning(sys, [name]);
      return lease;
    }
    throw new Error([...failures].map(([name, why]) => `${name}: ${why}`).join('; '));
  } finally {
    sys.close(control);
  }
}

/** Renews a lease, or gets a new one if the server will not have it. */
export function renew(sys: Syscalls, lease: Lease, hostName: string): Lease {
  const control = sys.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  try {
    const conversation = conversationOf(sys, lease.interface);
    const query = { type: REQUEST, hostName, current: lease.address } as const;
    const kept = exchange(sys, conversation, query, [ACK, NAK], [lease.server ?? BROADCAST, BROADCAST]);
    if (kept?.type === ACK) return configure(sys, control, lease.interface, { ...lease, ...kept });
    return configure(sys, control, lease.interface, acquire(sys, lease.interface, hostName));
  } catch (error) {
    throw new Error(`${lease.interface}: ${(error as Error).message}`, { cause: error });
  } finally {
    sys.close(control);
  }
}

function obtain(sys: Syscalls, control: number, name: string, hostName: string): Lease {
  if (!hasCarrier(sys, name)) throw new Error('no link');
  return configure(sys, control, name, acquire(sys, name, hostName));
}

/** Ethernet devices; not loopback, tunnels or bridges, which have no hardware behind them. */
function wired(sys: Syscalls): string[] {
  return sys.list('/sys/class/net').filter((name) => sys.exists(`/sys/class/net/${name}/device`));
}

function hasCarrier(sys: Syscalls, name: string): boolean {
  for (let waited = 0; waited < CARRIER_MS; waited += 10) {
    if (sys.read(`/sys/class/net/${name}/carrier`).toString().trim() === '1') return true;
    sys.sleep(10);
  }
  return false;
}

/**
 * The kernel calls an interface running, and programs see it, up to a second after it has a carrier and works: changes
 * of links are looked at once a second (net/core/link_watch.c).
 */
function awaitRunning(sys: Syscalls, names: readonly string[]): void {
  const running = (name: string): boolean =>
    RUNNING.includes(sys.read(`/sys/class/net/${name}/operstate`).toString().trim());
  for (let waited = 0; waited < RUNNING_MS && !names.some(running); waited += 10) sys.sleep(10);
}

/** @returns the server's ACK. @throws Error saying why there is none. */
function acquire(sys: Syscalls, name: string, hostName: string): Reply {
  const conversation = conversationOf(sys, name);
  const offer = exchange(sys, conversation, { type: DISCOVER, hostName }, [OFFER], [BROADCAST]);
  const total = PATIENCE_MS.reduce((sum, wait) => sum + wait) / 1000;
  if (!offer) throw new Error(`no DHCP server answered in ${total} s`);
  const server = offer.server === undefined ? {} : { server: offer.server };
  const request = { type: REQUEST, hostName, requested: offer.address, ...server } as const;
  const answer = exchange(sys, conversation, request, [ACK, NAK], [BROADCAST]);
  const who = ['the DHCP server', offer.server].filter((word) => word !== undefined).join(' ');
  if (!answer) throw new Error(`${who} offered ${offer.address}, then fell silent`);
  if (answer.type === NAK) throw new Error(`${who} refused ${offer.address}, its own offer`);
  return answer;
}

/** What the messages of one conversation have in common: a request has the transaction of the offer that it takes up. */
interface Conversation {
  readonly name: string;
  readonly mac: Buffer;
  readonly transaction: number;
  readonly start: number;
}

function conversationOf(sys: Syscalls, name: string): Conversation {
  const mac = Buffer.from(sys.read(`/sys/class/net/${name}/address`).toString().trim().replaceAll(':', ''), 'hex');
  const start = sys.now();
  return { name, mac, start, transaction: (mac.readUInt32BE(2) ^ start) >>> 0 };
}

/** Sends a query, to each address in turn, until an answer of one of the types comes. */
function exchange(
  sys: Syscalls,
  { name, mac, transaction, start }: Conversation,
  query: Omit<Query, 'transaction' | 'mac' | 'seconds'>,
  types: readonly number[],
  destinations: readonly string[],
): Reply | undefined {
  const fd = openPort(sys, name);
  try {
    for (const [attempt, patience] of PATIENCE_MS.entries()) {
      const seconds = Math.floor((sys.now() - start) / 1e6);
      const to = destinations[Math.min(attempt, destinations.length - 1)] ?? BROADCAST;
      sys.send(fd, encodeQuery({ ...query, transaction, mac, seconds }), socketAddress(to, SERVER_PORT));
      const deadline = sys.now() + patience * 1000;
      for (let left = patience; left > 0; left = (deadline - sys.now()) / 1000) {
        const bytes = Buffer.alloc(1500);
        const size = sys.receive(fd, bytes, left);
        if (size < 0) break;
        const reply = decodeReply(bytes.subarray(0, size), { transaction, mac });
        if (reply && types.includes(reply.type)) return reply;
      }
    }
    return undefined;
  } finally {
    sys.close(fd);
  }
}

function openPort(sys: Syscalls, name: string): number {
  const fd = sys.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  const on = Buffer.from([1, 0, 0, 0]);
  sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, on);
  sys.setsockopt(fd, SOL_SOCKET, SO_BROADCAST, on);
  sys.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, Buffer.from(`${name}\0`));
  sys.bind(fd, socketAddress('0.0.0.0', CLIENT_PORT));
  return fd;
}

function configure(sys: Syscalls, control: number, name: string, reply: Reply): Lease {
  if (reply.mtu !== undefined) sys.ioctl(control, SIOCSIFMTU, request(name, int32(reply.mtu)));
  sys.ioctl(control, SIOCSIFADDR, request(name, socketAddress(reply.address)));
  sys.ioctl(control, SIOCSIFNETMASK, request(name, socketAddress(reply.mask)));
  if (reply.router !== undefined) addDefaultRoute(sys, control, reply.router);
  sys.write('/etc/resolv.conf', resolvConf(reply.dns, reply.domain));
  const lease = { ...reply, interface: name };
  sys.write(LEASE, JSON.stringify(lease));
  return lease;
}

function up(sys: Syscalls, control: number, name: string): void {
  sys.ioctl(control, SIOCSIFFLAGS, request(name, Buffer.from([IFF_UP_RUNNING, 0])));
}

/** struct rtentry: destination at 8, gateway at 24, mask at 40, flags at 56. */
function addDefaultRoute(sys: Syscalls, control: number, router: string): void {
  const route = Buffer.alloc(120);
  socketAddress('0.0.0.0').copy(route, 8);
  socketAddress(router).copy(route, 24);
  socketAddress('0.0.0.0').copy(route, 40);
  route.writeUInt16LE(RTF_UP_GATEWAY, 56);
  try {
    sys.ioctl(control, SIOCADDRT, route);
  } catch (error) {
    if ((error as { code?: string }).code !== 'EEXIST') throw error; // a renewal finds it there
  }
}

/**
 * What the kernel has set up stays as it is: the root may be at the other end. It lists what it learned, and how, as
 * `nameserver`, `domain` and `#PROTO` lines among others (Documentation/admin-guide/nfs).
 */
function adoptKernelSetup(sys: Syscalls, control: number, interfaces: readonly string[]): Lease | undefined {
  const lines = sys.read('/proc/net/pnp').toString().split('\n');
  const words = (key: string): string[] =>
    lines.filter((line) => line.startsWith(`${key} `)).map((line) => line.slice(key.length + 1).trim());
  const dns = words('nameserver').filter((address) => address !== '0.0.0.0');
  const [domain] = words('domain');
  sys.write('/etc/resolv.conf', resolvConf(dns, domain));
  awaitRunning(sys, interfaces);
  if (words('#PROTO:')[0] !== 'DHCP') return undefined;
  // It is not the kernel that will renew it.
  for (const name of interfaces) {
    const address = addressAt(sys, control, SIOCGIFADDR, name);
    if (address === undefined) continue;
    const mask = addressAt(sys, control, SIOCGIFNETMASK, name) ?? '255.255.255.0';
    const times = { lease: KERNEL_LEASE, renewal: KERNEL_LEASE };
    const lease: Lease = {
      ...{ type: ACK, interface: name, address, mask, dns, ...times },
      ...(domain === undefined ? {} : { domain }),
    };
    sys.write(LEASE, JSON.stringify(lease));
    return lease;
  }
  return undefined;
}

/** An address of an interface, or undefined if it has none. */
function addressAt(sys: Syscalls, control: number, kind: number, name: string): string | undefined {
  const answer = request(name, socketAddress('0.0.0.0'));
  try {
    sys.ioctl(control, kind, answer);
  } catch {
    return undefined;
  }
  return addressText(answer.subarray(20, 24));
}

function resolvConf(dns: readonly string[], domain: string | undefined): string {
  const search = domain === undefined ? [] : [`search ${domain}`];
  return [...search, ...dns.map((address) => `nameserver ${address}`), ''].join('\n');
}

/** struct ifreq: the name in 16 bytes, then 24 bytes of a value. */
function request(name: string, value: Buffer): Buffer {
  const bytes = Buffer.alloc(40);
  bytes.write(name, 0, 15, 'latin1');
  value.copy(bytes, 16);
  return bytes;
}

/** struct sockaddr_in. */
function socketAddress(address: string, port = 0): Buffer {
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
