/** Ports of the guest that the host forwards. */
import { createServer, isIPv4 } from 'node:net';
import { createSocket } from 'node:dgram';
import { codeOf, NodeosError, UsageError } from '@nodeos/base';

export interface Publish {
  readonly protocol: 'tcp' | 'udp';
  /** The host address that listens. */
  readonly address: string;
  readonly host: number;
  readonly guest: number;
}

/** Parses `[ADDRESS:]HOST:GUEST[/udp]`. Ports are from 1 to 65535. Defaults: 127.0.0.1, TCP. @throws UsageError */
export function parsePublish(text: string): Publish {
  const match = /^(?:([\d.]+):)?(\d+):(\d+)(?:\/(tcp|udp))?$/.exec(text);
  const [host, guest] = [Number(match?.[2]), Number(match?.[3])];
  const address = match?.[1] ?? '127.0.0.1';
  if (!match || !isIPv4(address) || [host, guest].some((port) => port < 1 || port > 65535)) {
    throw new UsageError(`--publish ${text}: expected [ADDRESS:]HOST:GUEST[/udp] with ports from 1 to 65535`, {
      hint: 'for example --publish 8080:80',
    });
  }
  return { protocol: match[4] === 'udp' ? 'udp' : 'tcp', address, host, guest };
}

/**
 * Checks that the host's ports are free, because QEMU's own message says little. @throws NodeosError naming the port
 */
export async function checkFree(publish: readonly Publish[]): Promise<void> {
  for (const entry of publish) {
    try {
      await PROBES[entry.protocol](entry);
    } catch (error) {
      const isTaken = codeOf(error) === 'EADDRINUSE';
      throw new NodeosError(
        `port ${entry.host} of ${entry.address}: ${isTaken ? 'another program has it' : String(error)}`,
        {
          hint: `publish another one: --publish ${entry.host === 65535 ? 65534 : entry.host + 1}:${entry.guest}`,
        },
      );
    }
  }
}

const PROBES: Readonly<Record<Publish['protocol'], (publish: Publish) => Promise<void>>> = {
  tcp: ({ address, host }) =>
    new Promise((resolve, reject) => {
      const server = createServer();
      server.once('error', reject).listen(host, address, () => server.close(() => resolve()));
    }),
  udp: ({ address, host }) =>
    new Promise((resolve, reject) => {
      const socket = createSocket('udp4');
      socket.once('error', reject).bind(host, address, () => socket.close(() => resolve()));
    }),
};
