/** The init's reports: to the console for people, to the event port for tools, to the control pipe for PID 1. */
import type { EventName } from '@nodeos/contract';
import type { Syscalls } from './syscalls.js';

const CONSOLE = 2;
const CONTROL = 3;
const EVENTS = 4;
const EVENT_PORT = /^\/dev\/vport/;

export class Report {
  readonly #hasEvents: boolean;
  #renewal = Infinity;

  constructor(private readonly sys: Syscalls) {
    // Without an event port, PID 1 leaves descriptor 4 free, and Node.js may use it for its own purposes.
    const path = `/proc/self/fd/${EVENTS}`;
    this.#hasEvents = sys.exists(path) && EVENT_PORT.test(sys.readLink(path));
  }

  /** Prints a line on the console. A failed step must be named here, whatever else breaks. */
  log(text: string): void {
    this.sys.print(CONSOLE, `nodeos: ${text}\n`);
  }

  /** Sends an event to the host as a JSON line, with the time in microseconds since boot. */
  event(event: EventName, details: object = {}): void {
    if (!this.#hasEvents) return;
    try {
      this.sys.print(EVENTS, JSON.stringify({ us: this.sys.now(), event, ...details }) + '\n');
    } catch {
      // nobody reads the port on the host
    }
  }

  /** Sends a request to PID 1; see pid1/supervisor.h. */
  sendCommand(line: string): void {
    this.sys.print(CONTROL, line + '\n');
  }

  /** Asks PID 1 to start the role `renew` after that many seconds, unless it was asked to do so earlier. */
  renewWithin(seconds: number): void {
    if (seconds >= this.#renewal) return;
    this.#renewal = seconds;
    this.sendCommand(`renew ${seconds}`);
  }

  /** Closes the control pipe and the event port, so that the application cannot use them. */
  close(): void {
    this.sys.close(CONTROL);
    if (this.#hasEvents) this.sys.close(EVENTS);
  }
}
