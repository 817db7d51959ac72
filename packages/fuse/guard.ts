/**
 * Takes a mount out of the tree if this process ends without having done so, also by SIGKILL. Otherwise the folder would
 * only say "Transport endpoint is not connected". A shell waits for the end of a pipe, in a session of its own, so that
 * what the terminal sends does not reach it.
 */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';

const SCRIPT = 'read -r word; [ "$word" = done ] || exec "$@"';

/** @param command what takes the mount away. @returns a function that says that nothing is left to do */
export function guard(command: readonly string[]): () => void {
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'sh', ...command], {
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    detached: true,
  });
  child.on('error', () => undefined); // then it is as it was without it
  child.stdin.on('error', () => undefined);
  child.unref();
  (child.stdin as unknown as Socket).unref();
  return () => void child.stdin.end('done\n');
}
