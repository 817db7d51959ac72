/** Events from the guest to the host: JSON lines `{"us": …, "event": …, …}` on the port `PORTS.events`. */

type Kind = 'number' | 'string';

/** All events with their mandatory details. An event may have more. */
export const EVENTS = {
  /** PID 1 is running. */
  pid1: {},
  /** PID 1 starts the init. */
  start: {},
  /** Node.js is running, as the init. */
  node: { role: 'string' },
  /** A step of the boot is done. `took` is in microseconds. A failed step has an `error`. */
  step: { step: 'string', took: 'number' },
  /** The commands that run to completion before the application start. */
  first: { commands: 'number' },
  /** The application starts. `again` lists the variables that require Node.js to be started once more. */
  app: { main: 'string' },
  /** The program of a container starts. */
  container: { program: 'string' },
  /** A program listens on the TCP port that the host has asked for. */
  listening: { port: 'number' },
  /** The code of `--exec` starts. */
  exec: {},
  /** The REPL starts. */
  repl: {},
  /** A DHCP lease was renewed, or there is a new one. */
  renewed: { interface: 'string', address: 'string' },
  /** The program that PID 1 had started has ended. */
  exit: { status: 'number', signal: 'number' },
  /** PID 1 stops restarting the application. */
  'gave-up': { failures: 'number' },
  /** The machine begins to end. `how`: 0 reboot, 1 power off, 2 halt. */
  stop: { how: 'number' },
  /** All programs have ended. */
  gone: {},
  /** Everything is written and unmounted. */
  end: { how: 'number' },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Kind>>>>;

export type EventName = keyof typeof EVENTS;

type Values<Details> = {
  readonly [Name in keyof Details]: Details[Name] extends 'number' ? number : string;
};

/** An event. `us` is the time in microseconds since the start of the guest's kernel. */
export type GuestEvent = {
  [Name in EventName]: { readonly us: number; readonly event: Name } & Values<(typeof EVENTS)[Name]> & {
      readonly error?: unknown;
      readonly again?: unknown;
    };
}[EventName];

/** Whether a value from the guest is a known event with its mandatory details. */
export function isGuestEvent(value: unknown): value is GuestEvent {
  if (typeof value !== 'object' || value === null) return false;
  const { us, event } = value as { us?: unknown; event?: unknown };
  if (typeof us !== 'number' || typeof event !== 'string' || !Object.hasOwn(EVENTS, event)) return false;
  const details: Readonly<Record<string, Kind>> = EVENTS[event as EventName];
  return Object.entries(details).every(([name, kind]) => typeof (value as Record<string, unknown>)[name] === kind);
}
