/**
 * Asks the name servers of /etc/resolv.conf for an IPv4 address, without an event loop: the boot needs time servers
 * before anything else runs. RFC 1035. Answers are bounded and only matched by their names, types and a random id.
 */
import { isIPv4 } from 'node:net';
import { addressText, isMachine } from './dhcp.js';
import { socketAddress } from './lease.js';
import type { Syscalls } from './syscalls.js';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const PORT = 53;
const HEADER = 12;
const [A, CNAME, IN] = [1, 5, 1];
/** The largest answer by UDP without extensions (RFC 1035, section 4.2.1). */
const LARGEST = 512;
const MAX_RECORDS = 64;
const TIMEOUT_MS = 1000;
const MAX_SERVERS = 2;

/**
 * Finds an address of a name, or returns an address unchanged.
 * @throws Error saying that no server told one
 */
export function resolveName(sys: Syscalls, name: string): string {
  if (isIPv4(name)) return name;
  const servers = nameServers(sys);
  for (const server of servers) {
    const address = ask(sys, server, name);
    if (address !== undefined) return address;
  }
  throw new Error(servers.length === 0 ? `${name}: there is no name server` : `${name}: no name server knows it`);
}

function nameServers(sys: Syscalls): string[] {
  if (!sys.exists('/etc/resolv.conf')) return [];
  const lines = sys.read('/etc/resolv.conf').toString().split('\n');
  const addresses = lines.map((line) => /^nameserver\s+(\S+)/.exec(line)?.[1] ?? '');
  return addresses.filter((address) => isIPv4(address)).slice(0, MAX_SERVERS);
}

function ask(sys: Syscalls, server: string, name: string): string | undefined {
  // Loaded on demand, because loading takes time.
  const { randomBytes } = process.getBuiltinModule('node:crypto');
  const query = encodeQuestion(randomBytes(2).readUInt16BE(), name);
  const fd = sys.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  try {
    sys.send(fd, query, socketAddress(server, PORT));
    const deadline = sys.now() + TIMEOUT_MS * 1000;
    for (let left = TIMEOUT_MS; left > 0; left = (deadline - sys.now()) / 1000) {
      const bytes = Buffer.alloc(LARGEST);
      const size = sys.receive(fd, bytes, left);
      if (size < 0) return undefined;
      const answer = decodeAnswer(bytes.subarray(0, size), query);
      if (answer) return answer.find(isMachine);
    }
    return undefined;
  } catch {
    return undefined; // the network refused it; another server may be reached
  } finally {
    sys.close(fd);
  }
}

/** A question for the address of a name. @param id from 0 to 65535 @throws RangeError for what is no name */
export function encodeQuestion(id: number, name: string): Buffer {
  const labels = name.replace(/\.$/, '').split('.');
  if (name.length > 253 || labels.some((label) => label === '' || label.length > 63))
    throw new RangeError(`no name: ${name}`);
  const head = Buffer.alloc(HEADER);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(0x0100, 2); // recursion desired
  head.writeUInt16BE(1, 4);
  const parts = labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')]));
  return Buffer.concat([head, ...parts, Buffer.from([0, 0, A, 0, IN])]);
}

/**
 * @param query the question, which the answer must repeat
 * @returns the addresses, also those of aliases; undefined for what is no answer to this question
 */
export function decodeAnswer(bytes: Buffer, query: Buffer): string[] | undefined {
  if (bytes.length < query.length || bytes.readUInt16BE(0) !== query.readUInt16BE(0)) return undefined;
  const flags = bytes.readUInt16BE(2);
  const repeatsQuestion = bytes
    .subarray(HEADER, query.length)
    .toString('latin1')
    .toLowerCase()
    .startsWith(query.subarray(HEADER).toString('latin1').toLowerCase());
  if ((flags & 0x8000) === 0 || bytes.readUInt16BE(4) !== 1 || !repeatsQuestion) return undefined;
  const addresses: string[] = [];
  let at: number | undefined = query.length;
  for (let count = Math.min(bytes.readUInt16BE(6), MAX_RECORDS); count > 0; count--) {
    at = endOfName(bytes, at);
    if (at === undefined || at + 10 > bytes.length) break;
    const [type, group, size] = [bytes.readUInt16BE(at), bytes.readUInt16BE(at + 2), bytes.readUInt16BE(at + 8)];
    at += 10;
    if (at + size > bytes.length) break;
    if (type === A && group === IN && size === 4) addresses.push(addressText(bytes.subarray(at, at + 4)));
    else if (type !== CNAME) break;
    at += size;
  }
  return addresses;
}

/** The offset behind a name: labels, ended by a zero or by a pointer. Pointers are not followed. */
function endOfName(bytes: Buffer, start: number): number | undefined {
  for (let at = start; at < bytes.length;) {
    const length = bytes[at] ?? 0;
    if (length === 0) return at + 1;
    if ((length & 0xc0) === 0xc0) return at + 2;
    if (length > 63) return undefined;
    at += 1 + length;
  }
  return undefined;
}
