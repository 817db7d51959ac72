/** Watches an application's files, and tells of changes in groups: an editor or a build writes several at once. */
import { basename } from 'node:path';

/** Milliseconds without another change after which a group is complete. */
const QUIET_MS = 40;
/** Milliseconds until the events of files that were just written have come. */
const SETTLE_MS = 150;

/** What no application runs: modules are in the image, and the rest are notes of tools. */
const IGNORED: ReadonlySet<string> = new Set(['node_modules', '.git', '.hg', '.svn', 'coverage']);

export interface Watching {
  /** Waits for the events of what was just written, and forgets them. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

/** @param onChange is called with absolute paths, never twice at a time */
export async function watchFiles(
  folder: string,
  onChange: (paths: readonly string[]) => Promise<void>,
): Promise<Watching> {
  const { watch } = await import('chokidar');
  const changed = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  const flush = (): void => {
    if (running || changed.size === 0) return;
    const paths = [...changed].sort();
    changed.clear();
    running = onChange(paths)
      .catch(() => undefined) // interrupted, or reported
      .finally(() => {
        running = undefined;
        flush();
      });
  };
  const watcher = watch(folder, {
    ignoreInitial: true,
    ignored: (path) => IGNORED.has(basename(path)) && path !== folder,
  });
  watcher.on('all', (_event, path) => {
    changed.add(path);
    clearTimeout(timer);
    timer = setTimeout(flush, QUIET_MS);
  });
  watcher.on('error', () => undefined); // a folder that has gone again
  await new Promise<void>((resolve) => watcher.once('ready', resolve));
  return {
    settle: () =>
      new Promise((resolve) => {
        setTimeout(() => {
          changed.clear();
          resolve();
        }, SETTLE_MS);
      }),
    async close() {
      clearTimeout(timer);
      changed.clear();
      await watcher.close();
    },
  };
}
