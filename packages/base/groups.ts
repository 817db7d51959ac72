/**
 * The process groups that this process has started: tools and virtual machines. Each child leads its own group, so
 * Ctrl-C and Ctrl-Z on a terminal reach only this process. This module passes Ctrl-Z on to the groups.
 */
const groups = new Set<number>();

/** Remembers a process group. @returns a function that forgets it; call it when the process has ended */
export function trackGroup(pid: number | undefined): () => void {
  if (pid === undefined) return () => undefined;
  groups.add(pid);
  return () => void groups.delete(pid);
}

/** Stops or continues all remembered groups. */
export function signalGroups(signal: 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of groups) {
    try {
      process.kill(-pid, signal);
    } catch {
      // The process has ended, but this process has not seen its exit yet.
    }
  }
}
