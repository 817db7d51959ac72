/** What the guest tells the host: JSON lines `{"us": …, "event": …, …}` on the port `PORTS.events`. */

type Kind = 'number' | 'string';

/** Each event, with the details that it always has. Others may follow. */
export const EVENTS = {
  /** PID 1 runs. */
  pid1: {},
  /** PID 1 starts the init. */
  start: {},
  /** Node.js runs, as the init. */
  node: { role: 'string' },
  /** A step of the boot is done; `took` is in microseconds. One that failed has an `error`. */
  step: { step: 'string', took: 'number' },
  /** Commands that run to their end before the application. */
  first: { commands: 'number' },
  /** The application starts. `again` lists the variables that take a second start of Node.js. */
  app: { main: 'string' },
  /** Code of `--exec` starts. */
  exec: {},
  /** The REPL starts. */
  repl: {},
  /** The lease of the network's address was renewed; `address` is missing if it was lost. */
  renewed: {},
  /** What PID 1 had started has ended. */
  exit: { status: 'number', signal: 'number' },
  /** PID 1 does not start the application again. */
  'gave-up': { failures: 'number' },
  /** The end of the machine begins. `how`: 0 reboot, 1 power off, 2 halt. */
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

/** `us`: microseconds since the guest's kernel started. */
export type GuestEvent = {
  [Name in EventName]: { readonly us: number; readonly event: Name } & Values<(typeof EVENTS)[Name]> & {
      readonly error?: unknown;
      readonly again?: unknown;
      readonly address?: unknown;
    };
}[EventName];

/** Whether a value that a guest sent is an event with its details. */
export function isGuestEvent(value: unknown): value is GuestEvent {
  if (typeof value !== 'object' || value === null) return false;
  const { us, event } = value as { us?: unknown; event?: unknown };
  if (typeof us !== 'number' || typeof event !== 'string' || !Object.hasOwn(EVENTS, event)) return false;
  const details: Readonly<Record<string, Kind>> = EVENTS[event as EventName];
  return Object.entries(details).every(([name, kind]) => typeof (value as Record<string, unknown>)[name] === kind);
}
