/** Makes a missing lock file with npm, in the project's folder. */
import { run } from '@nodeos/engine';
import { runNpm } from './npm.js';

/** @throws NodeosError with npm's output */
export function makeLock(dir: string, signal: AbortSignal): Promise<void> {
  const npm = {
    run: (command: string, args: readonly string[], options: object) => run(command, args, { signal, ...options }),
  };
  return runNpm(npm, ['install', '--package-lock-only', '--ignore-scripts'], { cwd: dir });
}
