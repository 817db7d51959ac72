/** Understands commands that run a script of package.json or a dependency's command: `npm run NAME`, `npx COMMAND`. */
import { UsageError } from '@nodeos/base';
import { argumentOf, textOf, type Argument, type Word } from './words.js';

export interface Runner {
  readonly kind: 'script' | 'bin';
  readonly name: string;
  readonly args: readonly Argument[];
}

type Scripts = Readonly<Record<string, string>>;
type Invocation = Pick<Runner, 'kind' | 'name'> & { readonly args: readonly Word[] };

const script = (name: string | undefined, args: readonly Word[]): Invocation | undefined =>
  name === undefined ? undefined : { kind: 'script', name, args };
const bin = (name: string | undefined, args: readonly Word[]): Invocation | undefined =>
  name === undefined ? undefined : { kind: 'bin', name, args };

/** Options without influence on what runs. */
const QUIET = new Set(['-s', '--silent', '-q', '--quiet', '--if-present']);
const QUIET_EXEC = new Set([...QUIET, '-y', '--yes', '--no', '--no-install', '--']);

function parseNpm(words: readonly Word[]): Invocation | undefined {
  const [first, ...rest] = skipOptions(words, QUIET);
  const verb = textOf(first) ?? '';
  if (['start', 'stop', 'test', 'restart'].includes(verb)) return script(verb, rest);
  if (['exec', 'x'].includes(verb)) return parseNpx(rest);
  if (!['run', 'run-script'].includes(verb)) return undefined;
  const [name, ...args] = skipOptions(rest, QUIET);
  return script(textOf(name), args);
}

function parseNpx(words: readonly Word[]): Invocation | undefined {
  const [name, ...args] = skipOptions(words, QUIET_EXEC);
  return bin(textOf(name), args);
}

/** Yarn and pnpm accept a script's name as a verb. If there is no such script, the name is a command. */
function parseYarn(words: readonly Word[], scripts: Scripts): Invocation | undefined {
  const [verb, ...rest] = skipOptions(words, QUIET);
  const name = textOf(verb);
  if (name === 'exec') return parseNpx(rest);
  if (name !== 'run') return scriptOrBin(name, rest, scripts);
  const [scriptName, ...args] = skipOptions(rest, QUIET);
  return scriptOrBin(textOf(scriptName), args, scripts);
}

const scriptOrBin = (name: string | undefined, args: readonly Word[], scripts: Scripts): Invocation | undefined =>
  name !== undefined && Object.hasOwn(scripts, name) ? script(name, args) : bin(name, args);

const RUNNERS: Readonly<Record<string, (words: readonly Word[], scripts: Scripts) => Invocation | undefined>> = {
  npm: parseNpm,
  npx: parseNpx,
  yarn: parseYarn,
  pnpm: parseYarn,
};

/** Programs that start other programs, by name or through a shell. */
const NEEDS_PROGRAMS = new Set([
  ...['bun', 'deno', 'concurrently', 'npm-run-all', 'npm-run-all2', 'run-p', 'run-s', 'cross-env-shell', 'wireit'],
  ...['nodemon', 'turbo', 'nx', 'lerna', 'forever', 'sh', 'bash', 'sudo', 'docker', 'docker-compose'],
]);

/**
 * Interprets a runner. @returns undefined if the command is not a runner. @throws UsageError if it is one but cannot be
 * understood
 */
export function runnerOf(command: string, words: readonly Word[], scripts: Scripts, from: string): Runner | undefined {
  if (NEEDS_PROGRAMS.has(command))
    throw new UsageError(`${from}: ${command} starts programs that the target has not`, HINT);
  if (!Object.hasOwn(RUNNERS, command)) return undefined;
  const invocation = RUNNERS[command]?.(words, scripts);
  if (!invocation || invocation.name.startsWith('-'))
    throw new UsageError(`${from} runs ${command}, which is not on the target`, HINT);
  const { kind, name, args } = invocation;
  const ownArgs = textOf(args[0]) === '--' ? args.slice(1) : args;
  return { kind, name, args: ownArgs.map(argumentOf) };
}

const HINT = { hint: 'name the file: `node FILE`; or give "nodeos": {"start": "node FILE"} for this system alone' };

function skipOptions(words: readonly Word[], quiet: ReadonlySet<string>): readonly Word[] {
  const at = words.findIndex((word) => !quiet.has(textOf(word) ?? ''));
  return at < 0 ? [] : words.slice(at);
}
