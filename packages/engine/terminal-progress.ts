/**
 * Progress on a terminal. listr2 draws it on standard error, because standard output is for a command's result.
 *
 * Tools print thousands of lines a second, of any length and content. Only the last line of each step is kept, and it
 * is prepared for display only twice a second. So the cost of drawing does not depend on the amount of output.
 */
import { stripVTControlCharacters } from 'node:util';
import { dispatcher, noteLine, type Handlers, type Progress } from './progress.js';
import type { Task } from './step-list.js';
import type { Step } from './step.js';

/** Time between two looks at the last lines, in milliseconds. */
const LOOK_MS = 500;

/** Characters of a line that can be shown: more columns than any terminal has. */
const MAX_LENGTH = 1024;
/** Lists the steps with their elapsed times and the last line of each running tool. */
export function terminalProgress(output: NodeJS.WriteStream = process.stderr): Progress {
  const rows = new Map<Step, Row>();
  let rendered: Promise<unknown> = Promise.resolve();
  let frames: NodeJS.Timeout | undefined;
  const handlers: Handlers = {
    plan({ steps }) {
      const missing = steps.filter((item) => item.state !== 'cached');
      if (missing.length === 0) return;
      const drawn = missing.map(({ step }) => {
        const row = new Row();
        rows.set(step, row);
        return { title: step.name, begin: (task: Task) => row.begin(task) };
      });
      // A list begins when the one before it is complete. The engine throws the errors; listr2 only draws them.
      rendered = Promise.all([import('./step-list.js'), rendered])
        .then(([{ drawSteps }]) => drawSteps(drawn, output))
        .catch(() => undefined);
      frames ??= setInterval(() => rows.forEach((row) => row.show()), LOOK_MS);
    },
    start: ({ step }) => rows.get(step)?.setLine('starting'),
    fetch: ({ step, from }) => rows.get(step)?.setLine(`fetching from ${from}`),
    output: ({ step, line }) => rows.get(step)?.setLine(line),
    done: ({ step }) => rows.get(step)?.finish(),
    failed: ({ step }) => rows.get(step)?.finish(new Error(`${step.name} failed`)),
    stopped: ({ step }) => rows.get(step)?.finish(new Error(`${step.name} was stopped`)),
    note: ({ message }) => void (rendered = rendered.then(() => output.write(noteLine(message)))),
  };
  return {
    event: dispatcher(handlers),
    async close() {
      clearInterval(frames);
      // Steps that never started must not look finished.
      for (const [step, row] of rows) row.finish(new Error(`${step.name} was not built`));
      await rendered;
    },
  };
}

class Row {
  #task: Task | undefined;
  #line = '';
  #shown = '';
  readonly #done: Promise<void>;
  finish!: (error?: Error) => void;

  constructor() {
    this.#done = new Promise((resolve, reject) => {
      this.finish = (error) => (error ? reject(error) : resolve());
    });
    this.#done.catch(() => undefined);
  }

  begin(task: Task): Promise<void> {
    this.#task = task;
    return this.#done;
  }

  /** Only stores the line, because thousands of lines arrive in a second. */
  setLine(line: string): void {
    this.#line = line;
  }

  show(): void {
    if (!this.#task || this.#line === this.#shown) return;
    this.#shown = this.#line;
    this.#task.output = shownLine(this.#line);
  }
}

/**
 * Prepares a tool's line for display: one line without terminal control characters, cut at the end to 1024 characters.
 */
export function shownLine(line: string): string {
  const text = stripVTControlCharacters(line.trimStart().slice(0, 2 * MAX_LENGTH));
  return text.replace(STEERING, ' ').slice(0, MAX_LENGTH).trim();
}

/** C0, DEL, C1, and characters that change the text direction. */
// eslint-disable-next-line no-control-regex -- the expression exists to match them
const STEERING = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]+/g;
