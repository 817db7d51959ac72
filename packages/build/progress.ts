/** How a build tells what it is doing: listr2 on a terminal, plain lines elsewhere, JSON lines for scripts. */
import { DefaultRenderer, Listr, ListrLogger, PRESET_TIMER, ProcessOutput } from 'listr2';
import type { ListrTaskWrapper, SimpleRenderer } from 'listr2';
import { canonicalJson } from './hash.js';
import type { PlannedStep } from './plan.js';
import type { Step } from './step.js';

export type BuildEvent =
  | { readonly type: 'plan'; readonly steps: readonly PlannedStep[] }
  | { readonly type: 'start'; readonly step: Step; readonly reasons: readonly string[] }
  | { readonly type: 'output'; readonly step: Step; readonly line: string }
  | { readonly type: 'done'; readonly step: Step; readonly seconds: number }
  | { readonly type: 'failed'; readonly step: Step; readonly message: string }
  /** Ended before it was done, because another step failed or the build was interrupted. */
  | { readonly type: 'stopped'; readonly step: Step };

export interface Progress {
  event(event: BuildEvent): void;
  /** Leaves the terminal as it was. */
  close(): Promise<void>;
}

export const silent: Progress = { event: () => undefined, close: () => Promise.resolve() };

type Write = (text: string) => void;

const REPEAT_MS = 15_000;

/** A line at the start and end of each step, and now and then the running tool's last line. */
export function plainProgress(write: Write): Progress {
  const told = new Map<Step, { started: number; last: number }>();
  const handlers: Handlers = {
    plan: () => undefined,
    start({ step, reasons }) {
      told.set(step, { started: Date.now(), last: Date.now() });
      write(`${step.name}: building, because ${reasons.slice(0, 3).join('; ')}\n`);
    },
    output({ step, line }) {
      const times = told.get(step);
      if (!times || Date.now() - times.last < REPEAT_MS) return;
      times.last = Date.now();
      write(`${step.name}: ${Math.round((Date.now() - times.started) / 1000)} s: ${line.trim()}\n`);
    },
    done: ({ step, seconds }) => write(`${step.name}: done in ${seconds.toFixed(1)} s\n`),
    failed: ({ step }) => write(`${step.name}: failed\n`),
    stopped: ({ step }) => write(`${step.name}: stopped\n`),
  };
  return { event: dispatcher(handlers), close: () => Promise.resolve() };
}

/** One JSON object a line: `{"event":"start","step":"kernel","target":"x86_64",…}`. */
export function jsonProgress(write: Write): Progress {
  const send = (event: string, step: Step, rest: object = {}): void =>
    write(canonicalJson({ event, step: step.name, target: step.target.name, ...rest }) + '\n');
  const handlers: Handlers = {
    plan({ steps }) {
      for (const { step, key, state, reasons } of steps) send('plan', step, { key, state, reasons });
    },
    start: ({ step }) => send('start', step),
    output: ({ step, line }) => send('output', step, { line }),
    done: ({ step, seconds }) => send('done', step, { seconds }),
    failed: ({ step, message }) => send('failed', step, { message }),
    stopped: ({ step }) => send('stopped', step),
  };
  return { event: dispatcher(handlers), close: () => Promise.resolve() };
}

/** listr2 asks whether standard output is a terminal, but progress is drawn on another stream. */
class TerminalRenderer extends DefaultRenderer {
  static override nonTTY = true;
}

/**
 * A list of the steps with their elapsed times and the running tools' last lines, on standard error: standard output
 * is for what a command prints.
 */
export function terminalProgress(output: NodeJS.WriteStream = process.stderr): Progress {
  const rendererOptions = {
    timer: PRESET_TIMER,
    logger: new ListrLogger({ useIcons: true, processOutput: new ProcessOutput(output, output) }),
  };
  const rows = new Map<Step, Row>();
  let shown: Promise<unknown> = Promise.resolve();
  const handlers: Handlers = {
    plan({ steps }) {
      const missing = steps.filter((item) => item.state === 'build');
      for (const { step } of missing) rows.set(step, new Row());
      if (missing.length === 0) return;
      const list = new Listr(
        missing.map(({ step }) => ({ title: step.name, task: (_context, task) => rows.get(step)?.show(task) })),
        {
          concurrent: true,
          exitOnError: false,
          renderer: TerminalRenderer,
          rendererOptions: { ...rendererOptions, collapseErrors: false },
          fallbackRenderer: 'simple',
          fallbackRendererOptions: rendererOptions,
          fallbackRendererCondition: !output.isTTY,
          // listr2 would end the process on Ctrl-C, before the engine has ended its tools and cleaned up.
          registerSignalListeners: false,
        },
      );
      shown = list.run().catch(() => undefined); // the engine throws the error: here it is only drawn
    },
    start: ({ step }) => rows.get(step)?.say('starting'),
    output: ({ step, line }) => rows.get(step)?.say(line),
    done: ({ step }) => rows.get(step)?.finish(),
    failed: ({ step }) => rows.get(step)?.finish(new Error(`${step.name} failed`)),
    stopped: ({ step }) => rows.get(step)?.finish(new Error(`${step.name} was stopped`)),
  };
  return {
    event: dispatcher(handlers),
    async close() {
      // Rows of steps that were never started: they must not look done.
      for (const [step, row] of rows) row.finish(new Error(`${step.name} was not built`));
      await shown;
    },
  };
}

class Row {
  #task: ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof SimpleRenderer> | undefined;
  readonly #done: Promise<void>;
  finish!: (error?: Error) => void;

  constructor() {
    this.#done = new Promise((resolve, reject) => {
      this.finish = (error) => (error ? reject(error) : resolve());
    });
    this.#done.catch(() => undefined);
  }

  show(task: ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof SimpleRenderer>): Promise<void> {
    this.#task = task;
    return this.#done;
  }

  say(line: string): void {
    if (this.#task) this.#task.output = line.trim();
  }
}

type Handlers = { [T in BuildEvent['type']]: (event: Extract<BuildEvent, { type: T }>) => void };

/** The compiler cannot see that the handler found by an event's type takes that event. */
function dispatcher(handlers: Handlers): (event: BuildEvent) => void {
  return (event) => (handlers[event.type] as (event: BuildEvent) => void)(event);
}
