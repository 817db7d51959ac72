/** How the init tells what it does: the console for people, the event port for tools, the control pipe for PID 1. */
import type { EventName } from '@nodeos/contract';
import type { Syscalls } from './syscalls.js';

const CONSOLE = 2;
const CONTROL = 3;
const EVENTS = 4;
const EVENT_PORT = /^\/dev\/vport/;

export class Report {
  readonly #hasEvents: boolean;

  constructor(private readonly sys: Syscalls) {
    // Without an event port PID 1 leaves the descriptor free, and Node.js has one of its own there.
    const path = `/proc/self/fd/${EVENTS}`;
    this.#hasEvents = sys.exists(path) && EVENT_PORT.test(sys.readLink(path));
  }

  /** A line on the console. A failed step must name itself here, whatever else breaks. */
  say(text: string): void {
    this.sys.print(CONSOLE, `nodeos: ${text}\n`);
  }

  /** A JSON line for the host: what happened, and when (microseconds since boot). */
  event(event: EventName, details: object = {}): void {
    if (!this.#hasEvents) return;
    try {
      this.sys.print(EVENTS, JSON.stringify({ us: this.sys.now(), event, ...details }) + '\n');
    } catch {
      // nobody listens on the host's side
    }
  }

  /** A wish to PID 1; see pid1/supervisor.h. */
  tell(line: string): void {
    this.sys.print(CONTROL, line + '\n');
  }

  /** The application must find neither the control pipe nor the event port. */
  close(): void {
    this.sys.close(CONTROL);
    if (this.#hasEvents) this.sys.close(EVENTS);
  }
}
