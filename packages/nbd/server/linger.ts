/** Ends a connection properly, after the peer has taken all replies. */
import type { Duplex } from 'node:stream';
import type { Inbox } from '../wire/inbox.js';
import type { Line } from './transmission.js';

/** Seconds between checks. */
const LINGER = 5;

interface Handle {
  readonly writeQueueSize?: number;
  /** Under TLS: the handle of the underlying connection. */
  readonly _parent?: Handle;
}

/**
 * Bytes that were written to the socket and have not left this process, including the rest of a large write. Under TLS
 * some bytes count twice: only changes matter.
 */
export function unsentOf(socket: Duplex): number {
  const { _handle: handle } = socket as { _handle?: Handle | null };
  return socket.writableLength + (handle?.writeQueueSize ?? 0) + (handle?._parent?.writeQueueSize ?? 0);
}

/** A socket as the line that replies go to. */
export const lineOf = (socket: Duplex): Line => ({
  write: (bytes, onWritten) => socket.write(bytes, onWritten),
  cork: () => socket.cork(),
  uncork: () => socket.uncork(),
  get destroyed() {
    return socket.destroyed;
  },
  on: (event, callback) => socket.on(event, callback),
  destroy: () => socket.destroy(),
  unsent: () => unsentOf(socket),
});

/**
 * Sends what is left, then waits for the peer to close. If bytes arrived after our side is closed, the kernel would
 * reset the connection and drop what the peer has not read. A peer is cut off if it takes nothing for 5 to 10 s, or if
 * it has been sent everything and does not close its side in that time.
 * @param isEnding whether the server is shutting down: then the grace of the shutdown applies to a peer that still has
 * something to take
 */
export async function closeGracefully(socket: Duplex, inbox: Inbox, isEnding: () => boolean): Promise<void> {
  if (socket.destroyed) return;
  // Replies of this turn are written at its end.
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await new Promise((resolve) => setImmediate(resolve));
  let last = unsentOf(socket);
  const timer = setInterval(() => {
    const unsent = unsentOf(socket);
    if (unsent === last && !(unsent > 0 && isEnding())) socket.destroy();
    last = unsent;
  }, LINGER * 1000);
  inbox.discard();
  inbox.onEnd(() => socket.end(() => socket.destroy()));
  socket.end();
  await closed;
  clearInterval(timer);
}
