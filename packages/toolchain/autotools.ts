/**
 * Configures, makes and installs packages that follow the GNU coding standards.
 * https://www.gnu.org/prep/standards/html_node/Managing-Releases.html
 */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunOptions, StepContext } from '@nodeos/engine';

/**
 * The installation prefix. It is the same for every build, so that no folder of the build machine gets into the output.
 * The toolchain finds its parts relative to its own programs, so it works in any folder.
 */
export const PREFIX = '/toolchain';

/**
 * The flags that everything is compiled with: no debug information, and no paths of the build machine.
 */
export const compilerFlags = (context: StepContext): string => `-O2 -g0 -ffile-prefix-map=${context.work}=.`;

/** A make variable that replaces `makeinfo`, so that no manuals are built. */
const NO_MANUALS = 'MAKEINFO=true';

/** A package that is built in a folder of its own, outside of its source. */
export class Package {
  /** @param options variables and search path for every command */
  constructor(
    readonly context: StepContext,
    /** The build folder, relative to the scratch folder. */
    readonly folder: string,
    readonly options: Pick<RunOptions, 'env' | 'path'> = {},
  ) {}

  /**
   * @param script the path of `configure`, relative to the build folder. An absolute path would be recorded in the
   * output
   */
  async configure(script: string, options: readonly string[]): Promise<void> {
    await this.context.run('mkdir', ['-p', this.folder]);
    await this.#run(script, [...options, NO_MANUALS]);
  }

  async make(goals: readonly string[] = []): Promise<void> {
    await this.#run('make', [`-j${this.context.jobs}`, NO_MANUALS, ...goals]);
  }

  /**
   * Installs into a staging folder, then copies what is below the prefix to `to`, so that `bin/` and `lib/` are at the
   * top.
   */
  async install(goals: readonly string[], to: string): Promise<void> {
    const staging = join(this.context.work, 'staging');
    await this.#run('make', [NO_MANUALS, ...goals, `DESTDIR=${staging}`]);
    await cp(join(staging, PREFIX), to, { recursive: true, verbatimSymlinks: true });
    await rm(staging, { recursive: true, force: true });
  }

  #run(command: string, args: readonly string[]): Promise<unknown> {
    return this.context.run(command, args, { ...this.options, cwd: join(this.context.work, this.folder) });
  }
}

/** Merges folders into one. Files of later folders replace those of earlier ones. */
export async function merge(trees: readonly string[], to: string): Promise<void> {
  for (const tree of trees) await cp(tree, to, { recursive: true, verbatimSymlinks: true, force: true });
}
