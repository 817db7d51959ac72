/**
 * Shows the progress of a copy: one changing line on a terminal, occasional lines elsewhere, JSON lines for scripts.
 */
import type { Io, Parsed } from '../command.js';
import { formatSize } from '@nodeos/base';

export interface Meter {
  /** Reports progress in bytes. */
  update(done: number, size: number): void;
  /** Restores the terminal. */
  close(): void;
}

const MIB = 1 << 20;

/** @param action the verb of the messages: `copied` */
export function meterFor(action: string, args: Pick<Parsed, 'flag'>, io: Io): Meter {
  if (args.flag('json')) {
    const send = (state: State): void => void io.stdout.write(JSON.stringify({ event: action, ...state }) + '\n');
    return meter(1000, send);
  }
  if (!io.stderr.isTTY) return meter(5000, (state) => void io.stderr.write(`${lineOf(action, state)}\n`));
  const inner = meter(100, (state) => void io.stderr.write(`\r${lineOf(action, state)}\x1b[K`));
  return {
    update: (done, size) => inner.update(done, size),
    close: () => {
      inner.close();
      io.stderr.write('\r\x1b[K');
    },
  };
}

export interface State {
  readonly done: number;
  readonly size: number;
  /** Since the start. */
  readonly seconds: number;
}

/** A line of progress: `copied 45 %: 1.2 GiB of 2.7 GiB, 130 MiB/s, 12 s left` */
export function lineOf(action: string, { done, size, seconds }: State): string {
  const rate = seconds > 0 ? done / seconds : 0;
  const remaining = done > 0 ? `, ${Math.ceil(((size - done) / done) * seconds)} s left` : '';
  const percent = Math.floor((done / size) * 100);
  return `${action} ${percent} %: ${formatSize(done)} of ${formatSize(size)}, ${Math.round(rate / MIB)} MiB/s${remaining}`;
}

/**
 * Reports at most once per `interval` milliseconds, and the last state too if nothing follows it: what stands still is
 * shown. A shorter job reports nothing.
 */
function meter(interval: number, report: (state: State) => void): Meter {
  const started = performance.now();
  let last = started;
  let timer: NodeJS.Timeout | undefined;
  let state: Pick<State, 'done' | 'size'> | undefined;

  function show(): void {
    clearTimeout(timer);
    timer = undefined;
    last = performance.now();
    if (state) report({ ...state, seconds: Math.round(last - started) / 1000 });
  }

  return {
    update: (done, size) => {
      state = { done, size };
      const wait = last + interval - performance.now();
      if (wait <= 0) show();
      else timer ??= setTimeout(show, wait).unref();
    },
    close: () => clearTimeout(timer),
  };
}
