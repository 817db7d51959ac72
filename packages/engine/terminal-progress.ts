/**
 * Progress on a terminal, drawn by listr2 on standard error: standard output is for what a command prints.
 *
 * Tools write lines of any length, thousands a second, with whatever is in them. Of each step only the last line is
 * kept, and only twice a second it is made fit to be shown: to draw costs the same whatever is written.
 */
import { stripVTControlCharacters } from 'node:util';
import cliTruncate from 'cli-truncate';
import { DefaultRenderer, Listr, ListrLogger, PRESET_TIMER, ProcessOutput, Spinner } from 'listr2';
import type { ListrTaskWrapper, SimpleRenderer } from 'listr2';
import { dispatcher, type Handlers, type Progress } from './progress.js';
import type { Step } from './step.js';

/** Between two drawings. */
const FRAME_MS = 500;
/** Characters of a line that may take part in what is shown: more than any terminal has columns. */
const MOST = 1024;
/** Of a terminal that does not say its size. */
const COLUMNS = 80;
const INDENTATION = 2;

/**
 * Two drawings a second at most, of rows that are not wider than the terminal. As it comes, listr2 draws ten times a
 * second and for each line that a task says, wraps what is too long anew each time, and asks standard output for the
 * width and whether it is a terminal.
 */
const rendererOn = (output: NodeJS.WriteStream): typeof DefaultRenderer =>
  class extends DefaultRenderer {
    static override nonTTY = true;
    #due: NodeJS.Timeout | undefined;

    override async render(): Promise<void> {
      await super.render();
      super.update(); // it hears what tasks say once they are drawn
    }

    override update(): void {
      this.#due ??= setTimeout(() => {
        this.#due = undefined;
        super.update();
      }, FRAME_MS);
    }

    override end(): void {
      clearTimeout(this.#due);
      super.end();
    }

    protected override format(message: string, icon: string, level: number): string[] {
      if (message.trim() === '') return [];
      const indentation = ' '.repeat(level * INDENTATION);
      const room = (output.columns || COLUMNS) - indentation.length - 1;
      return [indentation + cliTruncate(icon === '' ? message : `${icon} ${message}`, Math.max(1, room))];
    }
  };

class SlowSpinner extends Spinner {
  override start(draw?: () => void): void {
    super.start(draw, FRAME_MS);
  }
}

/** A list of the steps with their elapsed times and the running tools' last lines. */
export function terminalProgress(output: NodeJS.WriteStream = process.stderr): Progress {
  const logger = new ListrLogger({ useIcons: true, processOutput: new ProcessOutput(output, output) });
  const rendererOptions = { timer: PRESET_TIMER, logger };
  const rows = new Map<Step, Row>();
  let shown: Promise<unknown> = Promise.resolve();
  let frames: NodeJS.Timeout | undefined;
  const handlers: Handlers = {
    plan({ steps }) {
      const missing = steps.filter((item) => item.state === 'build');
      for (const { step } of missing) rows.set(step, new Row());
      if (missing.length === 0) return;
      const list = new Listr(
        missing.map(({ step }) => ({ title: step.name, task: (_context, task) => rows.get(step)?.begin(task) })),
        {
          concurrent: true,
          exitOnError: false,
          renderer: rendererOn(output),
          rendererOptions: { ...rendererOptions, collapseErrors: false, spinner: new SlowSpinner() },
          fallbackRenderer: 'simple',
          fallbackRendererOptions: rendererOptions,
          fallbackRendererCondition: !output.isTTY,
          // listr2 would end the process on Ctrl-C, before the engine has ended its tools and cleaned up.
          registerSignalListeners: false,
        },
      );
      shown = list.run().catch(() => undefined); // the engine throws the error: here it is only drawn
      frames = setInterval(() => rows.forEach((row) => row.show()), FRAME_MS);
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
      clearInterval(frames);
      // Rows of steps that were never started: they must not look done.
      for (const [step, row] of rows) row.finish(new Error(`${step.name} was not built`));
      await shown;
    },
  };
}

class Row {
  #task: ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof SimpleRenderer> | undefined;
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

  begin(task: ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof SimpleRenderer>): Promise<void> {
    this.#task = task;
    return this.#done;
  }

  /** Costs nothing: thousands of lines come in a second. */
  say(line: string): void {
    this.#line = line;
  }

  show(): void {
    if (!this.#task || this.#line === this.#shown) return;
    this.#shown = this.#line;
    this.#task.output = shownLine(this.#line);
  }
}

/**
 * A tool's line as people may see it: one line, without escape sequences and other characters that steer a terminal, and
 * of a length that does not matter. What is cut off is its end.
 */
export function shownLine(line: string): string {
  const text = stripVTControlCharacters(line.trimStart().slice(0, 2 * MOST));
  return text.replace(STEERING, ' ').slice(0, MOST).trim();
}

/** C0, DEL, C1, and what changes the direction of text. */
// eslint-disable-next-line no-control-regex -- they are what it is about
const STEERING = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]+/g;
