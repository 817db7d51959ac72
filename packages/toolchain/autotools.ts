/** Configuring, making and installing as GNU packages do it. https://www.gnu.org/prep/standards/html_node/Managing-Releases.html */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunOptions, StepContext } from '@nodeos/engine';

/**
 * Where the toolchain believes to be. It finds its parts relative to its own programs, so it works wherever it is;
 * a prefix that is the same for every build keeps the folders of the machine out of the output.
 */
export const PREFIX = '/toolchain';

/** What everything is compiled with: no debug information, no paths of this machine. @param level of optimization */
export const compilerFlags = (context: StepContext, level = 2): string =>
  `-O${level} -g0 -ffile-prefix-map=${context.work}=.`;

/** Manuals are not built. */
const NO_MANUALS = 'MAKEINFO=true';

export class Package {
  /** @param options of everything that is run: its variables, where its programs are */
  constructor(
    readonly context: StepContext,
    /** Where it is built: a folder of the scratch folder. */
    readonly folder: string,
    readonly options: Pick<RunOptions, 'env' | 'path'> = {},
  ) {}

  /** @param script from the folder: a relative path stays out of what remembers how it was configured */
  async configure(script: string, options: readonly string[]): Promise<void> {
    await this.context.run('mkdir', ['-p', this.folder]);
    await this.#run(script, [...options, NO_MANUALS]);
  }

  async make(goals: readonly string[] = []): Promise<void> {
    await this.#run('make', [`-j${this.context.jobs}`, NO_MANUALS, ...goals]);
  }

  /** Installs below a folder, and takes the prefix away: `bin/` and `lib/` are at its top. */
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

/** Copies what the trees have into one; the later ones win. */
export async function merge(trees: readonly string[], to: string): Promise<void> {
  for (const tree of trees) await cp(tree, to, { recursive: true, verbatimSymlinks: true, force: true });
}
