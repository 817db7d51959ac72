/** An ordinary user of this machine, who knows nothing of the repository. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import type { Finished } from '../support.js';

const NOBODY = 65534;
const isRoot = process.getuid?.() === 0;
const identity = isRoot ? { uid: NOBODY, gid: NOBODY } : {};

/** What Debian gives a user, and Node.js. */
export const PATH = [dirname(process.execPath), '/usr/local/bin', '/usr/bin', '/bin'].join(delimiter);

const COMPILERS = /^(?:.*-)?(?:gcc|g\+\+|cpp|cc|c\+\+|ld|as|strip|make|flex|bison|bc)(?:[-.].*)?$/;

/** The programs of this machine without those that compile: a folder of links to the others. */
export async function withoutCompilers(folder: string): Promise<string> {
  await mkdir(folder);
  const linked = new Set<string>();
  for (const from of PATH.split(delimiter))
    for (const name of await readdir(from)) {
      if (linked.has(name) || COMPILERS.test(name)) continue;
      linked.add(name);
      await symlink(join(from, name), join(folder, name));
    }
  return folder;
}

export interface Program {
  readonly output: { stdout: string; stderr: string };
  readonly ended: Promise<Finished>;
  /** As Ctrl-C in a terminal does. */
  interrupt(): void;
}

type Environment = Readonly<Record<string, string>>;

export class User {
  readonly #started: ((signal: NodeJS.Signals) => void)[] = [];

  private constructor(readonly home: string) {}

  /** @param home a new folder; npm's configuration is in it */
  static async withHome(home: string, npmrc: string): Promise<User> {
    const user = new User(home);
    await mkdir(home);
    await user.owns(home);
    await writeFile(join(home, '.npmrc'), npmrc);
    return user;
  }

  /** A new folder of the user's. */
  async folder(name: string, files: Readonly<Record<string, string>> = {}): Promise<string> {
    const folder = join(this.home, name);
    await mkdir(folder, { recursive: true });
    await this.owns(folder);
    for (const [path, content] of Object.entries(files)) {
      await writeFile(join(folder, path), content);
      await this.owns(join(folder, path));
    }
    return folder;
  }

  start(cwd: string, env: Environment, command: string, ...args: readonly string[]): Program {
    const own = { PATH, HOME: this.home, LANG: 'C.UTF-8', ...env };
    const child = spawn(command, args, {
      cwd,
      env: own,
      ...identity,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const kill = (signal: NodeJS.Signals): void => {
      if (child.pid === undefined) return; // it did not start
      try {
        process.kill(-child.pid, signal);
      } catch {
        // it has ended
      }
    };
    this.#started.push(kill);
    const output = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
    const ended = once(child, 'close').then(([status]) => ({ status: (status as number | null) ?? 1, ...output }));
    return { output, ended, interrupt: () => kill('SIGINT') };
  }

  /** @throws Error with its output if the program fails */
  async run(cwd: string, env: Environment, command: string, ...args: readonly string[]): Promise<Finished> {
    const result = await this.start(cwd, env, command, ...args).ended;
    if (result.status === 0) return result;
    throw new Error(`${command} ${args.join(' ')}: ${result.status}\n${result.stdout}\n${result.stderr}`);
  }

  /** Ends what is left of what it started. */
  leave(): void {
    for (const kill of this.#started) kill('SIGKILL');
  }

  private async owns(path: string): Promise<void> {
    if (isRoot) await chown(path, NOBODY, NOBODY);
  }
}
