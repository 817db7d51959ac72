/**
 * Draws rows for steps on a terminal, by listr2. It is loaded when there is something to draw, because loading takes
 * time.
 */
import cliTruncate from 'cli-truncate';
import { DefaultRenderer, Listr, ListrLogger, PRESET_TIMER, ProcessOutput, Spinner } from 'listr2';
import type { ListrTaskWrapper, SimpleRenderer } from 'listr2';

/** Time between two drawings, in milliseconds. */
const FRAME_MS = 500;
/** Width of a terminal that does not report its size. */
const COLUMNS = 80;
const INDENTATION = 2;

/**
 * Draws at most twice a second, in rows no wider than the terminal, and nothing while the terminal has not taken the last
 * drawing. By default, listr2 draws ten times a second and for
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
        if (output.writableLength > 0) this.update();
        else super.update();
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

/** A drawn row. What is assigned to its `output` is shown below it. */
export type Task = ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof SimpleRenderer>;

export interface DrawnStep {
  readonly title: string;
  /** Called when the row is there. It resolves when the step is done, and rejects if it failed. */
  readonly begin: (task: Task) => Promise<void>;
}

/** Resolves when all steps are done. */
export async function drawSteps(steps: readonly DrawnStep[], output: NodeJS.WriteStream): Promise<void> {
  const logger = new ListrLogger({ useIcons: true, processOutput: new ProcessOutput(output, output) });
  const rendererOptions = { timer: PRESET_TIMER, logger };
  const list = new Listr(
    steps.map(({ title, begin }) => ({ title, task: (_context, task) => begin(task) })),
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
  await list.run();
}
