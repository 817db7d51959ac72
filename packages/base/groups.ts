/**
 * The process groups that this process has started: tools, and machines. Each is a group of its own, so that a terminal's
 * Ctrl-C reaches this process alone; so does its Ctrl-Z, which is passed on from here.
 */
const groups = new Set<number>();

/** @returns what forgets it, when it has ended */
export function remember(pid: number | undefined): () => void {
  if (pid === undefined) return () => undefined;
  groups.add(pid);
  return () => void groups.delete(pid);
}

/** Stops all of them, or lets them go on. */
export function signalGroups(signal: 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of groups) {
    try {
      process.kill(-pid, signal);
    } catch {
      // it has ended, and its end is not known yet
    }
  }
}
