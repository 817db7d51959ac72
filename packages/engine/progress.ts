/** Reports a build's progress: plain lines, or JSON lines for scripts. terminal-progress.ts is for terminals. */
import { visible } from '@nodeos/base';
import { canonicalJson } from './hash.js';
import type { PlannedStep } from './plan.js';
import type { Step } from './step.js';

export type BuildEvent =
  | { readonly type: 'plan'; readonly steps: readonly PlannedStep[] }
  | { readonly type: 'start'; readonly step: Step; readonly reasons: readonly string[] }
  /** Instead of `start`: a remote cache has the output. */
  | { readonly type: 'fetch'; readonly step: Step; readonly from: string }
  | { readonly type: 'output'; readonly step: Step; readonly line: string }
  | { readonly type: 'done'; readonly step: Step; readonly seconds: number }
  | { readonly type: 'failed'; readonly step: Step; readonly message: string }
  /** The step ended early, because another step failed or the build was interrupted. */
  | { readonly type: 'stopped'; readonly step: Step }
  /** One line for the user, of no step. */
  | { readonly type: 'note'; readonly message: string };

export interface Progress {
  event(event: BuildEvent): void;
  /** Restores the terminal. */
  close(): Promise<void>;
}

export const silent: Progress = { event: () => undefined, close: () => Promise.resolve() };

type Write = (text: string) => void;

const REPEAT_MS = 15_000;

/** Prints a line at the start and end of each step, and every 15 s at most the running tool's last line. */
export function plainProgress(write: Write): Progress {
  const reported = new Map<Step, { started: number; last: number }>();
  const handlers: Handlers = {
    plan: () => undefined,
    start({ step, reasons }) {
      reported.set(step, { started: Date.now(), last: Date.now() });
      write(`${step.name}: building, because ${reasons.slice(0, 3).join('; ')}\n`);
    },
    fetch({ step, from }) {
      reported.set(step, { started: Date.now(), last: Date.now() });
      write(`${step.name}: fetching it from ${visible(from)}\n`);
    },
    output({ step, line }) {
      const times = reported.get(step);
      if (!times || Date.now() - times.last < REPEAT_MS) return;
      times.last = Date.now();
      write(`${step.name}: ${Math.round((Date.now() - times.started) / 1000)} s: ${line.trim()}\n`);
    },
    done: ({ step, seconds }) => write(`${step.name}: done in ${seconds.toFixed(1)} s\n`),
    failed: ({ step }) => write(`${step.name}: failed\n`),
    stopped: ({ step }) => write(`${step.name}: stopped\n`),
    note: ({ message }) => write(noteLine(message)),
  };
  return { event: dispatcher(handlers), close: () => Promise.resolve() };
}

/** Prints one JSON object per line: `{"event":"start","step":"kernel","target":"x86_64",…}`. */
export function jsonProgress(write: Write): Progress {
  const send = (event: string, step: Step, details: object = {}): void =>
    write(canonicalJson({ event, step: step.name, target: step.target.name, ...details }) + '\n');
  const handlers: Handlers = {
    plan({ steps }) {
      for (const { step, key, state, reasons } of steps) send('plan', step, { key, state, reasons });
    },
    start: ({ step }) => send('start', step),
    fetch: ({ step, from }) => send('fetch', step, { from }),
    output: ({ step, line }) => send('output', step, { line }),
    done: ({ step, seconds }) => send('done', step, { seconds }),
    failed: ({ step, message }) => send('failed', step, { message }),
    stopped: ({ step }) => send('stopped', step),
    note: ({ message }) => write(canonicalJson({ event: 'note', message }) + '\n'),
  };
  return { event: dispatcher(handlers), close: () => Promise.resolve() };
}

export const noteLine = (message: string): string => `nodeos: ${visible(message)}\n`;

export type Handlers = { [T in BuildEvent['type']]: (event: Extract<BuildEvent, { type: T }>) => void };

/** The compiler cannot see that the handler for an event's type accepts that event. */
export function dispatcher(handlers: Handlers): (event: BuildEvent) => void {
  return (event) => (handlers[event.type] as (event: BuildEvent) => void)(event);
}
