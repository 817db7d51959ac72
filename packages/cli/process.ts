/** The command line as a process: its signals, its terminal, and the end of whoever has started it. */
import { closeSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { InterruptedError, signalGroups } from '@nodeos/base';
import { main } from './main.js';
import { watchOutput } from './output.js';

const SAME_SIGNAL_MS = 500;
const PARENT_MS = 500;
const SHOW_CURSOR = '\u001b[?25h';

/** Runs the command line of this process. */
export async function runProcess(): Promise<void> {
  const stop = new AbortController();
  const kill = new AbortController();
  let first = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    // npm hands on a signal that the terminal has already sent to everybody: two at once are one.
    if (!stop.signal.aborted) stop.abort(new InterruptedError(signal));
    else if (performance.now() - first > SAME_SIGNAL_MS) kill.abort();
    first ||= performance.now();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  passOnSuspension();
  endWithParent(() => onSignal('SIGTERM'));
  process.on('exit', leaveTerminalToPager);
  const { stdout, stderr, stdin, env } = process;
  const whenWritten = watchOutput({ stdout, stderr }, stop, kill.signal);
  const status = await main(process.argv.slice(2), {
    stdout,
    stderr,
    stdin,
    env,
    signal: stop.signal,
    kill: kill.signal,
  });
  process.exitCode = status;
  // Who wants it to end at once does not wait for connections that are still open.
  if (kill.signal.aborted) process.exit();
  const final = await whenWritten(status);
  process.exitCode = final;
  // What could not be written would be waited for without end.
  if (stop.signal.aborted && stdout.writableLength + stderr.writableLength > 0) process.exit(final);
}

/** Ctrl-Z stops tools and machines too, and leaves the terminal with a cursor; what draws on it draws anew afterwards. */
function passOnSuspension(): void {
  process.on('SIGTSTP', () => {
    signalGroups('SIGSTOP');
    // Past the stream, which what draws on it may hold back.
    if (process.stderr.isTTY) writeSync(process.stderr.fd, SHOW_CURSOR);
    process.kill(process.pid, 'SIGSTOP');
  });
  process.on('SIGCONT', () => signalGroups('SIGCONT'));
}

/**
 * npm starts this process by way of a shell. When npm is told to end, it tells the shell, and the shell nobody: this
 * process is somebody else's child then, and a machine would run on that nobody knows of.
 */
function endWithParent(end: () => void): void {
  if (process.env['npm_command'] === undefined) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    end();
  }, PARENT_MS);
  timer.unref();
}

/**
 * At its end Node.js sets the terminal of its standard streams back to what it found. A pager that shows the output has
 * set it up for itself by then, and would get keys only after Enter: streams that are closed are left alone.
 */
function leaveTerminalToPager(): void {
  if (process.stdout.isTTY) return;
  for (const fd of [0, 2]) if (isatty(fd)) closeSync(fd);
}
