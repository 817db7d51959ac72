/**
 * Progress on a terminal. listr2 draws it on standard error, because standard output is for a command's result.
 *
 * Tools print thousands of lines a second, of any length and content. Only the last line of each step is kept, and it
 * is prepared for display only twice a second. So the cost of drawing does not depend on the amount of output.
 */
import { stripVTControlCharacters } from 'node:util';
import cliTruncate from 'cli-truncate';
import { DefaultRenderer, Listr, ListrLogger, PRESET_TIMER, ProcessOutput, Spinner } from 'listr2';
import type { ListrTaskWrapper, SimpleRenderer } from 'listr2';
import { dispatcher, noteLine, type Handlers, type Progress } from './progress.js';
import type { Step } from './step.js';

/** Time between two drawings, in milliseconds. */
const FRAME_MS = 500;
/** Characters of a line that can be shown: more columns than any terminal has. */
const MAX_LENGTH = 1024;
/** Width of a terminal that does not report its size. */
const COLUMNS = 80;
const INDENTATION = 2;

/**
 * Draws at most twice a second, in rows no wider than the terminal. By default, listr2 draws ten times a second and for
 * each line of a task, wraps long lines anew each time, and asks standard output for the width and whether it is a
 * terminal.
 */
const rendererOn = (output: NodeJS.WriteStream): typeof DefaultRenderer =>
  class extends DefaultRenderer {
    static override nonTTY = true;
    #timer: NodeJS.Timeout | undefined;

    override async render(): Promise<void> {
      await super.render();
      super.update(); // listr2 listens to the tasks only after the first drawing
    }

    override update(): void {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        super.update();
      }, FRAME_MS);
    }

    override end(): void {
      clearTimeout(this.#timer);
      super.end();
    }

    protected override format(message: string, icon: string, level: number): string[] {
      if (message.trim() === '') return [];
      const indentation = ' '.repeat(level * INDENTATION);
      const width = (output.columns || COLUMNS) - indentation.length - 1;
      return [indentation + cliTruncate(icon === '' ? message : `${icon} ${message}`, Math.max(1, width))];
    }
  };

class SlowSpinner extends Spinner {
  override start(draw?: () => void): void {
    super.start(draw, FRAME_MS);
  }
}

/** Lists the steps with their elapsed times and the last line of each running tool. */
export function terminalProgress(output: NodeJS.WriteStream = process.stderr): Progress {
  const logger = new ListrLogger({ useIcons: true, processOutput: new ProcessOutput(output, output) });
  const rendererOptions = { timer: PRESET_TIMER, logger };
  const rows = new Map<Step, Row>();
  let rendered: Promise<unknown> = Promise.resolve();
  let frames: NodeJS.Timeout | undefined;
  const handlers: Handlers = {
    plan({ steps }) {
      const missing = steps.filter((item) => item.state !== 'cached');
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
          // With its own handlers, listr2 would exit on Ctrl-C before the engine has ended its tools and cleaned up.
          registerSignalListeners: false,
        },
      );
      // A list begins when the one before it is complete. The engine throws the errors; listr2 only draws them.
      rendered = rendered.then(() => list.run()).catch(() => undefined);
      frames ??= setInterval(() => rows.forEach((row) => row.show()), FRAME_MS);
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
