/** Says where an application answers: when it does, or that it does not yet. */
import type { GuestEvent } from '@nodeos/contract';
import type { Publish } from '@nodeos/vm';
import { printMessage, type Io } from './command.js';

/** The port that an application finds in its environment. */
const WEB_PORT = 80;
/** Milliseconds after which an application that does not listen may be waited for in vain. */
const LATE_MS = 15_000;

/** The published port that leads to the application's web server, if there is one. */
export const webOf = (publish: readonly Publish[]): Publish | undefined =>
  publish.find(({ guest, protocol }) => guest === WEB_PORT && protocol === 'tcp');

export interface Announcer {
  onEvent(event: GuestEvent): void;
  close(): void;
}

/** @param web where the machine's port leads to; without it, nothing is said */
export function announcer(web: Publish | undefined, io: Pick<Io, 'stderr'>): Announcer {
  const place = web && `http://${web.address}:${web.host}`;
  let timer: NodeJS.Timeout | undefined;
  let isKnown = false;
  const sayLate = (): void =>
    printMessage(
      io,
      `nothing listens yet on port ${WEB_PORT} of the guest, which will be ${place}: the application finds the port in PORT`,
    );
  return {
    onEvent({ event }) {
      if (!web || isKnown) return;
      if (event === 'app') timer ??= setTimeout(sayLate, LATE_MS).unref();
      if (event !== 'listening') return;
      isKnown = true;
      clearTimeout(timer);
      printMessage(io, `the guest's port ${WEB_PORT} is ${place} (Ctrl-C to power off)`);
    },
    close: () => clearTimeout(timer),
  };
}
