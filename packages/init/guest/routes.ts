/**
 * IPv4 routes, through the kernel's routing socket: rtnetlink(7), linux/rtnetlink.h. The older SIOCADDRT needs a
 * pointer to the interface's name, which JavaScript cannot provide.
 */
import { addressBytes, networkOf, type Route } from './dhcp.js';
import { SyscallError, type Syscalls } from './syscalls.js';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;

const NLMSG_ERROR = 2;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const NLM_F_REQUEST_ACK = 1 | 4;
const NLM_F_REPLACE_CREATE = 0x100 | 0x400;
const HEADER = 16;

const AF_INET = 2;
const RT_TABLE_MAIN = 254;
const RTPROT_DHCP = 16;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;

/** The kernel normally answers at once. */
const TIMEOUT_MS = 1000;

/**
 * Adds a route, or replaces the one to the same destination with the same metric.
 * @param name the interface
 * @param metric 0 to 2³² - 1
 * @throws Error if the kernel refuses
 */
export function addRoute(sys: Syscalls, name: string, route: Route, metric = 0): void {
  request(sys, RTM_NEWROUTE, NLM_F_REPLACE_CREATE, encodeRoute(route, indexOf(sys, name), metric));
}

/** Removes a route. @param name, metric as for `addRoute` @throws Error if the kernel refuses */
export function removeRoute(sys: Syscalls, name: string, route: Route, metric = 0): void {
  request(sys, RTM_DELROUTE, 0, encodeRoute(route, indexOf(sys, name), metric));
}

/** Describes a route for messages, in the style of `ip route`. */
export const routeText = ({ destination, prefix, gateway }: Route): string =>
  `route to ${destination}/${prefix}${gateway === undefined ? '' : ` by ${gateway}`}`;

/**
 * Sorts routes so that the kernel accepts them: those on the link first. A gateway outside all known networks gets its
 * own route. Clouds, for example, assign an address without a network (/32) and a router next to it.
 */
export function orderRoutes(routes: readonly Route[], address: string, prefix: number): Route[] {
  const onLink = routes.filter(({ gateway }) => gateway === undefined);
  const known = [{ destination: networkOf(address, prefix), prefix }, ...onLink];
  const added = new Map<string, Route>();
  for (const { gateway } of routes) {
    if (gateway === undefined || known.some((net) => networkOf(gateway, net.prefix) === net.destination)) continue;
    added.set(gateway, { destination: gateway, prefix: 32 });
  }
  return [...onLink, ...added.values(), ...routes.filter(({ gateway }) => gateway !== undefined)];
}

const indexOf = (sys: Syscalls, name: string): number =>
  Number(sys.read(`/sys/class/net/${name}/ifindex`).toString().trim());

/** struct rtmsg and its attributes. */
function encodeRoute({ destination, prefix, gateway }: Route, index: number, metric: number): Buffer {
  const scope = gateway === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  const head = [AF_INET, prefix, 0, 0, RT_TABLE_MAIN, RTPROT_DHCP, scope, RTN_UNICAST, 0, 0, 0, 0];
  return Buffer.concat([
    Buffer.from(head),
    ...(prefix === 0 ? [] : [attribute(RTA_DST, addressBytes(destination))]),
    attribute(RTA_OIF, number(index)),
    ...(gateway === undefined ? [] : [attribute(RTA_GATEWAY, addressBytes(gateway))]),
    ...(metric === 0 ? [] : [attribute(RTA_PRIORITY, number(metric))]),
  ]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** struct rtattr. All values here have four bytes. */
function attribute(type: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(4 + value.length, 0);
  head.writeUInt16LE(type, 2);
  return Buffer.concat([head, value]);
}

/** Sends a struct nlmsghdr to the kernel and checks the struct nlmsgerr that it returns. */
function request(sys: Syscalls, type: number, flags: number, payload: Buffer): void {
  const head = Buffer.alloc(HEADER);
  head.writeUInt32LE(HEADER + payload.length, 0);
  head.writeUInt16LE(type, 4);
  head.writeUInt16LE(NLM_F_REQUEST_ACK | flags, 6);
  const kernel = Buffer.alloc(12); // struct sockaddr_nl
  kernel.writeUInt16LE(AF_NETLINK, 0);
  const fd = sys.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE);
  try {
    sys.send(fd, Buffer.concat([head, payload]), kernel);
    const answer = Buffer.alloc(1024);
    const size = sys.receive(fd, answer, TIMEOUT_MS);
    if (size < HEADER + 4 || answer.readUInt16LE(4) !== NLMSG_ERROR) throw new Error('the kernel gives no answer');
    const error = answer.readInt32LE(HEADER);
    if (error !== 0) throw new SyscallError('rtnetlink', error);
  } finally {
    sys.close(fd);
  }
}
