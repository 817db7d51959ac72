/** Runs the command line as a process: handles signals, the terminal, and the end of its parent. */
import { closeSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { InterruptedError, signalGroups } from '@nodeos/base';
import type { Io } from './command.js';
import { main } from './main.js';
import { watchOutput } from './output.js';

const SAME_SIGNAL_MS = 500;
const PARENT_MS = 500;
const SHOW_CURSOR = '\u001b[?25h';

/** Runs the command line of this process and sets its exit status. @param more what only a clone can do */
export async function runProcess(more: Pick<Io, 'install'> = {}): Promise<void> {
  const stop = new AbortController();
  const kill = new AbortController();
  let first = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    // npm forwards a signal that the terminal has already sent to all processes, so two signals at once count as one.
    if (!stop.signal.aborted) stop.abort(new InterruptedError(signal));
    else if (performance.now() - first > SAME_SIGNAL_MS) kill.abort();
    first ||= performance.now();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  passOnSuspension();
  endWithParent(() => onSignal('SIGTERM'));
  process.on('exit', leaveTerminalToPager);
  const { stdout, stderr, stdin, env } = process;
  for (const stream of [stdout, stderr]) neverWaitFor(stream);
  const whenWritten = watchOutput({ stdout, stderr }, stop, kill.signal);
  const status = await main(process.argv.slice(2), {
    stdout,
    stderr,
    stdin,
    env,
    signal: stop.signal,
    kill: kill.signal,
    ...more,
  });
  process.exitCode = status;
  // After the second Ctrl-C, do not wait for open connections.
  if (kill.signal.aborted) process.exit();
  const final = await whenWritten(status);
  process.exitCode = final;
  // Unwritable output would keep the process waiting for ever.
  if (stop.signal.aborted && stdout.writableLength + stderr.writableLength > 0) process.exit(final);
}

/**
 * On Ctrl-Z, stops tools and machines too and shows the cursor again. Whatever draws on the terminal redraws after it
 * continues.
 */
function passOnSuspension(): void {
  process.on('SIGTSTP', () => {
    signalGroups('SIGSTOP');
    // Written directly, because the progress display may hold back the stream.
    if (process.stderr.isTTY) writeSync(process.stderr.fd, SHOW_CURSOR);
    process.kill(process.pid, 'SIGSTOP');
  });
  process.on('SIGCONT', () => signalGroups('SIGCONT'));
}

/**
 * Node.js waits for a terminal that takes nothing: after Ctrl-S, over a slow line, on a busy machine. Everything in this
 * process would wait too: builds, servers, signals. So what the terminal does not take at once is kept, as for a pipe.
 */
function neverWaitFor(stream: NodeJS.WriteStream): void {
  if (!stream.isTTY) return;
  const setBlocking = (isBlocking: boolean): void => handleOf(stream)?.setBlocking?.(isBlocking);
  setBlocking(false);
  process.on('exit', () => setBlocking(true)); // where there is no /dev/pts, the shell has the same open file
}

/** What is below a stream of Node.js; there is no public way to it. */
const handleOf = (stream: NodeJS.WriteStream): { setBlocking?: (isBlocking: boolean) => void } | undefined =>
  (stream as { _handle?: { setBlocking?: (isBlocking: boolean) => void } })._handle;

/**
 * npm starts this process through a shell. A signal to npm ends npm and the shell, but does not reach this process. It
 * would run on under another parent, with a machine that nobody knows of.
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
 * At its exit, Node.js restores the terminal settings of its standard streams. By then a pager may have changed them,
 * and would receive keys only after Enter. Node.js leaves closed streams alone, so they are closed here.
 */
function leaveTerminalToPager(): void {
  if (process.stdout.isTTY) return;
  for (const fd of [0, 2]) if (isatty(fd)) closeSync(fd);
}
