/** The end of a connection in good order, and what a peer has still to take before it. */
import type { Duplex } from 'node:stream';
import type { Inbox } from '../wire/inbox.js';
import type { Line } from './transmission.js';

/** Seconds between looks. */
const LINGER = 5;

interface Handle {
  readonly writeQueueSize?: number;
  /** Under TLS: the connection's own. */
  readonly _parent?: Handle;
}

/**
 * Bytes that were written to the socket and have not left this process; of one large write, what is left of it. Under TLS
 * some count twice: it is the change that tells.
 */
export function unsentOf(socket: Duplex): number {
  const { _handle: handle } = socket as { _handle?: Handle | null };
  return socket.writableLength + (handle?.writeQueueSize ?? 0) + (handle?._parent?.writeQueueSize ?? 0);
}

/** A socket as what replies go to. */
export const lineOf = (socket: Duplex): Line => ({
  write: (bytes, gone) => socket.write(bytes, gone),
  cork: () => socket.cork(),
  uncork: () => socket.uncork(),
  get destroyed() {
    return socket.destroyed;
  },
  on: (event, then) => socket.on(event, then),
  destroy: () => socket.destroy(),
  unsent: () => unsentOf(socket),
});

/**
 * What is still to be sent is sent, and the peer closes: bytes that would come after our side is closed would have the
 * kernel reset the connection, and forget what the peer has not read. A peer that takes nothing for 5 to 10 s, or has
 * been sent everything and does not close its side in that time, is cut off.
 * @param isEnding the server is being shut down: who has still something to take is left to that
 */
export async function ended(socket: Duplex, inbox: Inbox, isEnding: () => boolean): Promise<void> {
  if (socket.destroyed) return;
  // Replies of this turn are written at its end.
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await new Promise((resolve) => setImmediate(resolve));
  let last = unsentOf(socket);
  const looks = setInterval(() => {
    const left = unsentOf(socket);
    if (left === last && !(left > 0 && isEnding())) socket.destroy();
    last = left;
  }, LINGER * 1000);
  inbox.discard();
  inbox.onEnd(() => socket.end(() => socket.destroy()));
  socket.end();
  await closed;
  clearInterval(looks);
}
