/** Runs npm as a tool of a step, with the user's settings. If npm fails, the error shows the cause first. */
import { NodeosError } from '@nodeos/base';
import { type RunOptions, type StepContext } from '@nodeos/engine';

const QUIET = ['--no-audit', '--no-fund', '--loglevel=error'];
/** After the cause, npm prints its usage, which is longer than the usual number of kept lines. */
const MANY_LINES = 200;
const SHOWN = 20;

/** @param settings the `personal` part of .npmrc */
export async function runNpm(
  context: Pick<StepContext, 'run'>,
  args: readonly string[],
  options: RunOptions & { readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const { settings, ...runOptions } = options;
  try {
    // npm's settings (registry, proxy, credentials) can also be in the user's environment.
    await context.run('npm', [...args, ...QUIET], {
      environment: 'host',
      ...runOptions,
      env: { ...settings, ...runOptions.env },
      lastLines: MANY_LINES,
    });
  } catch (error) {
    throw error instanceof NodeosError ? withAdvice(error) : error;
  }
}

const ADVICE: Readonly<Record<string, string>> = {
  EUSAGE: 'if package.json and its lock file do not fit: run `npm install`, which mends the lock',
  ERESOLVE:
    'dependencies want other versions of each other: `npm install` shows which; "legacy-peer-deps=true" in .npmrc lets them be',
  E401: 'the registry wants credentials: `npm login`, or _authToken in .npmrc',
  E403: 'the registry refuses these credentials',
  E404: 'the registry does not have it: is the registry of its scope in .npmrc?',
  EINTEGRITY:
    'what was fetched is not what the lock file names; `npm cache clean --force` helps if the copy here is broken',
  ENOTFOUND: 'the registry was not reached: is there a network, or a proxy in .npmrc?',
  ECONNREFUSED: 'the registry was not reached: is there a network, or a proxy in .npmrc?',
  ETIMEDOUT: 'the registry was not reached in time; try again',
  EALLOWGIT: 'npm was told not to take packages from git (allow-git)',
};

/** Shortens npm's output to the cause, without its usage and the path of its log. */
export function withAdvice(error: NodeosError): NodeosError {
  const usage = error.lines.findIndex((line) => /^npm error (Usage:|Clean install a project)/.test(line));
  const lines = error.lines
    .slice(0, usage < 0 ? undefined : usage)
    .filter((line) => !/^npm error( A complete log of this run| For a full report see:|\s*$)/.test(line));
  const code = lines.map((line) => /^npm error code (\S+)/.exec(line)?.[1]).find((found) => found !== undefined);
  const hint = error.hint ?? (code === undefined ? undefined : ADVICE[code]);
  return new NodeosError(error.message, {
    lines: code === undefined ? lines.slice(-SHOWN) : lines.slice(0, SHOWN),
    cause: error,
    ...(error.log === undefined ? {} : { log: error.log }),
    ...(hint === undefined ? {} : { hint }),
  });
}
