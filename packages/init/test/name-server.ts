/** A name server (RFC 1035) on this machine, for tests of its clients. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv4 } from 'node:net';

const TYPES: Record<number, (address: string) => boolean> = { 1: isIPv4, 28: (address) => !isIPv4(address) };
const HEADER = 12;

export interface NameServer {
  readonly port: number;
  /** The names in the received questions, each with the type. */
  readonly queries: string[];
  /** The addresses of each name. Undefined: the server does not reply at all. */
  addresses: Record<string, readonly string[]> | undefined;
  close(): void;
}

const NO_SUCH_NAME = 3;

/** Starts the server. @throws Error if the port is taken or this user may not use it */
export async function nameServer(
  addresses: NameServer['addresses'],
  { port = 0, error = NO_SUCH_NAME } = {},
): Promise<NameServer> {
  const socket = createSocket('udp4');
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  const server: NameServer = { port: socket.address().port, queries: [], addresses, close: () => socket.close() };
  socket.on('message', (message, peer) => {
    const { name, end } = nameIn(message);
    const type = message.readUInt16BE(end);
    server.queries.push(`${name} ${type}`);
    if (server.addresses === undefined) return;
    const addresses = server.addresses[name];
    const answers = (addresses ?? [])
      .filter((address) => TYPES[type]?.(address))
      .map((address) => record(type, address));
    socket.send(answerTo(message.subarray(0, end + 4), addresses ? 0 : error, answers), peer.port, peer.address);
  });
  return server;
}

/** @returns the name in a question, and the offset of its end */
function nameIn(message: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = HEADER;
  for (let size; (size = message.readUInt8(at++)) > 0; at += size)
    labels.push(message.toString('latin1', at, at + size));
  return { name: labels.join('.'), end: at };
}

const bytesOf = (address: string): Buffer =>
  isIPv4(address) ? Buffer.from(address.split('.').map(Number)) : Buffer.from(`${'0'.repeat(30)}01`, 'hex'); // ::1

/** An alias comes first. Its name is a pointer to the question's name. */
const record = (type: number, address: string): Buffer[] => {
  const bytes = bytesOf(address);
  const head = (kind: number, length: number): Buffer =>
    Buffer.from([0xc0, HEADER, 0, kind, 0, 1, 0, 0, 0, 9, 0, length]);
  return [
    Buffer.concat([head(5, 4), Buffer.from([1, 97, 0xc0, HEADER])]),
    Buffer.concat([head(type, bytes.length), bytes]),
  ];
};

/** @param question a message that is cut after its question */
function answerTo(question: Buffer, error: number, answers: readonly Buffer[][]): Buffer {
  const all = answers.flat();
  const reply = Buffer.concat([question, ...all]);
  reply.writeUInt16BE(0x8180 | error, 2);
  reply.writeUInt16BE(all.length, 6);
  return reply;
}
