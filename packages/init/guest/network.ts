/**
 * Configures the network: loopback, and either the first wired interface with a DHCP server or the setup of the
 * kernel's `ip=`. IPv6 addresses and routes come from the kernel itself (router advertisements).
 *
 * DHCP uses a UDP socket that is bound to the interface. Linux lets it send and receive broadcasts before the interface
 * has an address.
 */
import {
  addressText,
  ACK,
  DISCOVER,
  decodeReply,
  encodeQuery,
  isMachine,
  NAK,
  OFFER,
  REQUEST,
  type Query,
  type Reply,
} from './dhcp.js';
import { configure, LEASES, renewalOf, request, resolvConf, socketAddress, type Lease, type Log } from './lease.js';
import type { Syscalls } from './syscalls.js';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_BROADCAST = 6;
const SO_BINDTODEVICE = 25;

const SIOCSIFFLAGS = 0x8914;
const SIOCGIFADDR = 0x8915;
const SIOCGIFNETMASK = 0x891b;
const IFF_UP_RUNNING = 0x41;

const BROADCAST = '255.255.255.255';
const CLIENT_PORT = 68;
const SERVER_PORT = 67;
const CARRIER_MS = 5000;
/** Milliseconds to wait for an interface on a USB bus, such as that of a Raspberry Pi 3. */
const USB_MS = 5000;
const USB_DEVICES = '/sys/bus/usb/devices';
const RUNNING_MS = 2000;
/** Values of `operstate` that mean running. Some drivers do not report their link and leave it `unknown`. */
const RUNNING: readonly string[] = ['up', 'unknown'];
/**
 * Milliseconds to wait for each reply. RFC 2131 suggests 4, 8, 16 s, but an appliance on a fast link need not wait so
 * long.
 */
const TIMEOUTS_MS = [1000, 2000, 3000, 4000];

/**
 * Seconds until the renewal of a lease that the kernel obtained. The kernel does not report the lease time; the server
 * does at the renewal.
 */
const KERNEL_LEASE = 60;

/** Puts what a configuration says in place of what a DHCP server says. */
export type Amend = (reply: Reply) => Reply;

const unchanged: Amend = (reply) => reply;

/** Whether the kernel has configured the network, by the word `ip=`. */
export const hasKernelSetup = (cmdline: ReadonlyMap<string, string>): boolean =>
  !['off', 'none'].includes(cmdline.get('ip') ?? 'off');

/** Does something with a socket for interface requests. */
export function withControl<T>(sys: Syscalls, work: (control: number) => T): T {
  const control = sys.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  try {
    return work(control);
  } finally {
    sys.close(control);
  }
}

/**
 * Brings the network up.
 * @param log receives a message for each part of a lease that is left out
 * @returns the lease; undefined if the kernel's `ip=` has set a permanent address
 * @throws Error saying what is missing
 */
export function bringUp(
  sys: Syscalls,
  cmdline: ReadonlyMap<string, string>,
  hostName: string,
  log: Log,
  amend: Amend = unchanged,
): Lease | undefined {
  return withControl(sys, (control) => {
    bringInterfaceUp(sys, control, 'lo');
    const interfaces = awaitInterfaces(sys);
    if (interfaces.length === 0) throw new Error('there is no network interface');
    if (hasKernelSetup(cmdline)) return adoptKernelSetup(sys, control, interfaces);
    const failures = new Map<string, string>();
    // A failing interface must not prevent the others from being tried.
    const attempt = <T>(name: string, work: () => T): T | undefined => {
      try {
        return work();
      } catch (error) {
        failures.set(name, (error as Error).message);
        return undefined;
      }
    };
    for (const name of interfaces) attempt(name, () => bringInterfaceUp(sys, control, name));
    const linkBy = linkDeadline(sys);
    for (const name of interfaces.filter((candidate) => !failures.has(candidate))) {
      const lease = attempt(name, () => obtain(sys, control, name, hostName, log, { amend, linkBy }));
      if (!lease) continue;
      awaitRunning(sys, [name]);
      return lease;
    }
    throw new Error([...failures].map(([name, reason]) => `${name}: ${reason}`).join('; '));
  });
}

/**
 * Renews a lease, or gets a new one if the server refuses.
 * @param log, amend as for `bringUp`
 * @throws Error saying why there is none
 */
export function renew(sys: Syscalls, lease: Lease, hostName: string, log: Log, amend: Amend = unchanged): Lease {
  return withControl(sys, (control) => {
    const conversation = conversationOf(sys, lease.interface);
    const query = { type: REQUEST, hostName, current: lease.address } as const;
    const answer = exchange(sys, conversation, query, isAnswer, [lease.server ?? BROADCAST, BROADCAST]);
    const reply = answer?.type === ACK ? { ...lease, ...answer } : acquire(sys, lease.interface, hostName);
    return configure(sys, control, lease.interface, amend(reply), log, lease.metric, lease);
  });
}

/** The time until which interfaces that have just been brought up may get a link, in microseconds since boot. */
export const linkDeadline = (sys: Syscalls): number => sys.now() + CARRIER_MS * 1000;

export interface ObtainOptions {
  readonly amend: Amend;
  /** As `linkDeadline` says. */
  readonly linkBy: number;
  /** Of the routes. Default: 0. */
  readonly metric?: number;
}

/** Gets a lease for an interface that is up. @throws Error saying why there is none */
export function obtain(
  sys: Syscalls,
  control: number,
  name: string,
  hostName: string,
  log: Log,
  { amend, linkBy, metric = 0 }: ObtainOptions,
): Lease {
  if (!hasCarrier(sys, name, linkBy)) throw new Error('no link');
  return configure(sys, control, name, amend(acquire(sys, name, hostName)), log, metric);
}

/** Devices on a USB bus appear seconds after the kernel has started. Without such a bus there is nothing to wait for. */
export function awaitInterfaces(sys: Syscalls): string[] {
  const hasUsb = sys.exists(USB_DEVICES) && sys.list(USB_DEVICES).length > 0;
  for (let waited = 0; hasUsb && waited < USB_MS; waited += 10) {
    const found = wiredInterfaces(sys);
    if (found.length > 0) return found;
    sys.sleep(10);
  }
  return wiredInterfaces(sys);
}

/** Ethernet devices. Loopback, tunnels and bridges have no hardware and are excluded. */
function wiredInterfaces(sys: Syscalls): string[] {
  return sys.list('/sys/class/net').filter((name) => sys.exists(`/sys/class/net/${name}/device`));
}

function hasCarrier(sys: Syscalls, name: string, deadline: number): boolean {
  for (;;) {
    if (sys.read(`/sys/class/net/${name}/carrier`).toString().trim() === '1') return true;
    if (sys.now() >= deadline) return false;
    sys.sleep(10);
  }
}

/**
 * Waits until the kernel reports the interface as running. That can be up to a second after it has a carrier and works,
 * because the kernel checks link changes once a second (net/core/link_watch.c).
 */
export function awaitRunning(sys: Syscalls, names: readonly string[]): void {
  const running = (name: string): boolean =>
    RUNNING.includes(sys.read(`/sys/class/net/${name}/operstate`).toString().trim());
  for (let waited = 0; waited < RUNNING_MS && !names.some(running); waited += 10) sys.sleep(10);
}

/** @returns the server's ACK. @throws Error saying why there is none */
function acquire(sys: Syscalls, name: string, hostName: string): Reply {
  const conversation = conversationOf(sys, name);
  let invalidOffer: Reply | undefined;
  const isOffer = (reply: Reply): boolean => {
    if (reply.type !== OFFER) return false;
    if (!isMachine(reply.address)) invalidOffer = reply;
    return isMachine(reply.address);
  };
  const offer = exchange(sys, conversation, { type: DISCOVER, hostName }, isOffer, [BROADCAST]);
  const total = TIMEOUTS_MS.reduce((sum, wait) => sum + wait) / 1000;
  if (!offer && invalidOffer)
    throw new Error(`${serverOf(invalidOffer)} offers ${invalidOffer.address}, which no machine can have`);
  if (!offer) throw new Error(`no DHCP server answered in ${total} s`);
  const server = offer.server === undefined ? {} : { server: offer.server };
  const request = { type: REQUEST, hostName, requested: offer.address, ...server } as const;
  const answer = exchange(sys, conversation, request, isAnswer, [BROADCAST]);
  if (!answer) throw new Error(`${serverOf(offer)} offered ${offer.address}, then fell silent`);
  if (answer.type === NAK) throw new Error(`${serverOf(offer)} refused ${offer.address}, its own offer`);
  return answer;
}

const serverOf = ({ server }: Reply): string =>
  ['the DHCP server', server].filter((word) => word !== undefined).join(' ');

/** Whether a message replies to a request. An ACK with an impossible address does not count. */
const isAnswer = ({ type, address }: Reply): boolean => type === NAK || (type === ACK && isMachine(address));

/** The values that all messages of an exchange share. A request repeats the transaction of the accepted offer. */
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

/** Sends a query, repeatedly and to each address in turn, until a wanted reply arrives. */
function exchange(
  sys: Syscalls,
  { name, mac, transaction, start }: Conversation,
  query: Omit<Query, 'transaction' | 'mac' | 'seconds'>,
  isWanted: (reply: Reply) => boolean,
  destinations: readonly string[],
): Reply | undefined {
  const fd = openPort(sys, name);
  try {
    for (const [attempt, timeout] of TIMEOUTS_MS.entries()) {
      const seconds = Math.floor((sys.now() - start) / 1e6);
      const to = destinations[Math.min(attempt, destinations.length - 1)] ?? BROADCAST;
      sys.send(fd, encodeQuery({ ...query, transaction, mac, seconds }), socketAddress(to, SERVER_PORT));
      const deadline = sys.now() + timeout * 1000;
      for (let remaining = timeout; remaining > 0; remaining = (deadline - sys.now()) / 1000) {
        const bytes = Buffer.alloc(1500);
        const size = sys.receive(fd, bytes, remaining);
        if (size < 0) break;
        const reply = decodeReply(bytes.subarray(0, size), { transaction, mac });
        if (reply && isWanted(reply)) return reply;
      }
    }
    return undefined;
  } finally {
    sys.close(fd);
  }
}

function openPort(sys: Syscalls, name: string): number {
  const fd = sys.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  const enabled = Buffer.from([1, 0, 0, 0]);
  sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, enabled);
  sys.setsockopt(fd, SOL_SOCKET, SO_BROADCAST, enabled);
  sys.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, Buffer.from(`${name}\0`));
  sys.bind(fd, socketAddress('0.0.0.0', CLIENT_PORT));
  return fd;
}

export function bringInterfaceUp(sys: Syscalls, control: number, name: string): void {
  sys.ioctl(control, SIOCSIFFLAGS, request(name, Buffer.from([IFF_UP_RUNNING, 0])));
}

/**
 * Keeps the kernel's network setup unchanged, because the root may depend on it. The kernel lists its results as
 * `nameserver`, `domain` and `#PROTO` lines among others (Documentation/admin-guide/nfs).
 */
function adoptKernelSetup(sys: Syscalls, control: number, interfaces: readonly string[]): Lease | undefined {
  const lines = sys.read('/proc/net/pnp').toString().split('\n');
  const valuesOf = (key: string): string[] =>
    lines.filter((line) => line.startsWith(`${key} `)).map((line) => line.slice(key.length + 1).trim());
  const dns = valuesOf('nameserver').filter((address) => address !== '0.0.0.0');
  const [domain] = valuesOf('domain');
  const named = { dns, ...(domain === undefined ? {} : { domain }) };
  sys.write('/etc/resolv.conf', resolvConf([named]));
  awaitRunning(sys, interfaces);
  if (valuesOf('#PROTO:')[0] !== 'DHCP') return undefined;
  // The kernel does not renew its lease.
  for (const name of interfaces) {
    const address = addressAt(sys, control, SIOCGIFADDR, name);
    if (address === undefined) continue;
    const mask = addressAt(sys, control, SIOCGIFNETMASK, name) ?? '255.255.255.0';
    const times = { lease: KERNEL_LEASE, renewal: KERNEL_LEASE };
    const lease: Lease = {
      ...{ type: ACK, interface: name, address, mask, leftOut: [], ...named, ...times },
      ...{ metric: 0, renewAt: renewalOf(sys, times) },
    };
    sys.write(LEASES, JSON.stringify([lease]));
    return lease;
  }
  return undefined;
}

/** An address of an interface; undefined if it has none. */
function addressAt(sys: Syscalls, control: number, kind: number, name: string): string | undefined {
  const answer = request(name, socketAddress('0.0.0.0'));
  try {
    sys.ioctl(control, kind, answer);
  } catch {
    return undefined;
  }
  return addressText(answer.subarray(20, 24));
}
