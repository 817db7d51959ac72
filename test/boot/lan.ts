/**
 * A simulated network at the other end of QEMU's `-netdev stream`, which sends Ethernet frames, each after its length.
 * Its DHCP server gives leases that QEMU's own network cannot give. It answers ARP requests for every address, and
 * echoes datagrams to port 7 of any address, and can have other services. RFC 826 (ARP), RFC 791 (IPv4), RFC 768 (UDP).
 */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { parseRequest, message, type Request, type Message } from '../../packages/init/test/server.js';
import { temporary } from '../support.js';

const OUR_MAC = Buffer.from('020000000001', 'hex');
const EVERYBODY = Buffer.alloc(6, 0xff);
const [ARP, IPV4, UDP] = [0x0806, 0x0800, 17];
const [SERVER_PORT, CLIENT_PORT, ECHO_PORT] = [67, 68, 7];

export interface Lan {
  /** QEMU arguments for the machine's network card. */
  readonly card: readonly string[];
  /** The options that the server sends with the address from now on. */
  options: Message['options'];
  /** The addresses in ARP requests and the destinations of echoed datagrams. */
  readonly seen: Set<string>;
  readonly record: (event: string) => void;
  /** What answers datagrams at any address, by port. */
  readonly services: Map<number, (datagram: Buffer, to: string) => Buffer | Promise<Buffer>>;
}

/** A datagram to this address makes the server send the other options from then on. */
const CHANGE = 'echo 10.0.0.77';

/**
 * Starts the network.
 * @param changedOptions the other options
 * @param deviceOptions options of the card, such as `host_mtu=1500`
 */
export async function lan(
  address: readonly number[],
  options: Message['options'],
  changedOptions: Message['options'] = options,
  deviceOptions = '',
): Promise<Lan> {
  const path = join(await temporary(), 'lan');
  const net: Lan = {
    card: [
      ...['-netdev', `stream,id=lan,server=off,addr.type=unix,addr.path=${path}`],
      ...['-device', `virtio-net-pci,netdev=lan,romfile=${deviceOptions === '' ? '' : `,${deviceOptions}`}`],
    ],
    options,
    seen: new Set(),
    services: new Map(),
    record: (event) => {
      net.seen.add(event);
      if (event === CHANGE) net.options = changedOptions;
    },
  };
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    let bytes = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (let end; bytes.length >= 4 && bytes.length >= (end = 4 + bytes.readUInt32BE()); bytes = bytes.subarray(end))
        void answers(net, address, bytes.subarray(4, end)).then((frames) => {
          for (const frame of frames) sendFrame(socket, frame);
        });
    });
  });
  onTestFinished(() => void server.close());
  await once(server.listen(path), 'listening');
  return net;
}

function sendFrame(socket: Socket, frame: Buffer): void {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(frame.length);
  socket.write(Buffer.concat([length, frame]));
}

async function answers(net: Lan, address: readonly number[], frame: Buffer): Promise<Buffer[]> {
  const [mac, payload] = [frame.subarray(6, 12), frame.subarray(14)];
  const kind = frame.readUInt16BE(12);
  if (kind === ARP) return answersOfArp(net, mac, payload);
  if (kind !== IPV4 || payload[9] !== UDP) return [];
  const [from, to] = [payload.subarray(12, 16), payload.subarray(16, 20)];
  const datagram = payload.subarray(((payload[0] ?? 0) & 15) * 4, payload.readUInt16BE(2));
  const [source, port, data] = [datagram.readUInt16BE(0), datagram.readUInt16BE(2), datagram.subarray(8)];
  if (port === SERVER_PORT) return [leaseReply(net, address, parseRequest(data))];
  const service = port === ECHO_PORT ? (same: Buffer) => same : net.services.get(port);
  if (!service) return [];
  net.record(`${port === ECHO_PORT ? 'echo' : `port ${port} of`} ${to.join('.')}`);
  return [packet(mac, to, from, port, source, await service(data, to.join('.')))];
}

function answersOfArp(net: Lan, mac: Buffer, request: Buffer): Buffer[] {
  const [sender, target] = [request.subarray(14, 18), request.subarray(24, 28)];
  if (request.readUInt16BE(6) !== 1 || sender.equals(target)) return []; // an announcement
  net.record(`arp ${target.join('.')}`);
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, 2]); // Ethernet, IPv4, a reply
  return [framed(mac, ARP, Buffer.concat([head, OUR_MAC, target, mac, sender]))];
}

function leaseReply(net: Lan, address: readonly number[], { xid, mac, type }: Request): Buffer {
  const options: Message['options'] = [[53, type === 1 ? 2 : 5], [54, 10, 0, 0, 1], ...net.options];
  const data = message({ xid, mac, yiaddr: address, options });
  return packet(EVERYBODY, Buffer.from([10, 0, 0, 1]), Buffer.alloc(4, 255), SERVER_PORT, CLIENT_PORT, data);
}

function packet(mac: Buffer, from: Buffer, to: Buffer, source: number, port: number, data: Buffer): Buffer {
  const udp = Buffer.alloc(8); // no checksum, as IPv4 allows
  udp.writeUInt16BE(source, 0);
  udp.writeUInt16BE(port, 2);
  udp.writeUInt16BE(8 + data.length, 4);
  const ip = Buffer.from([0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0, ...from, ...to]);
  ip.writeUInt16BE(28 + data.length, 2);
  ip.writeUInt16BE(checksum(ip), 10);
  return framed(mac, IPV4, Buffer.concat([ip, udp, data]));
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function framed(to: Buffer, kind: number, payload: Buffer): Buffer {
  const type = Buffer.alloc(2);
  type.writeUInt16BE(kind);
  return Buffer.concat([to, OUR_MAC, type, payload]);
}
