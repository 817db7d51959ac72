/**
 * Finds what an application runs: `nodeos.start`, else `scripts.start` with its `prestart`, else `main`, else
 * `index.js`, else `server.js`. The target has no shell and no npm, so this module interprets the lines: `NAME=value …
 * node [options] FILE [arguments]`, a command of a dependency, another script of package.json (`npm run NAME`), and
 * several of these joined by `&&`. https://docs.npmjs.com/cli/using-npm/scripts
 */
import { posix } from 'node:path';
import { UsageError } from '@nodeos/base';
import { insteadOfFile, isOption, takesNextWord } from './node-options.js';
import { runnerOf } from './runners.js';
import { argumentOf, commandsIn, needsShell, textOf, type Argument, type Word } from './words.js';

export type StartCommand = {
  /** The origin of the command, for messages. */
  readonly from: string;
  readonly args: readonly Argument[];
  readonly nodeArgs: readonly string[];
  readonly env: Readonly<Record<string, string>>;
} & (
  | {
      readonly kind: 'module';
      /** Relative to the application's folder. */
      readonly main: string;
      /** The file itself is the command, such as `./bin/www`. Its first line must name Node.js. */
      readonly executed?: true;
    }
  | { readonly kind: 'bin'; /** a name in node_modules/.bin */ readonly bin: string }
);

export interface Start {
  /** Commands that run to completion before the application: `prestart`, and commands in front of `&&`. */
  readonly first: readonly StartCommand[];
  readonly main: StartCommand;
  /** Messages for the user about commands that are not run. */
  readonly leftOut: readonly string[];
}

export interface StartManifest {
  readonly main?: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly nodeos?: { readonly start?: string };
}

/**
 * Finds the start commands.
 * @param packed whether a path is among the packed files
 * @param refusal why a command cannot run, if that is known
 * @throws UsageError if there is nothing to run, or a command is refused
 */
export function startOf(
  manifest: StartManifest,
  packed: (path: string) => boolean,
  refusal: (command: StartCommand) => UsageError | undefined = () => undefined,
): Start {
  const { scripts = {}, main, nodeos } = manifest;
  const reader = new Reader(scripts, main, packed);
  const nodeosStart = nodeos?.start;
  const hasScript = nodeosStart !== undefined || scripts['start'] !== undefined;
  const commands = !hasScript
    ? [withoutScript(main, packed)]
    : nodeosStart === undefined
      ? reader.script('start', false, 'npm start')
      : reader.line(nodeosStart, 'nodeos.start');
  const refused = commands.map(refusal).find((error) => error !== undefined);
  if (refused) throw refused;
  const first = commands.slice(0, -1);
  const application = commands.at(-1) as StartCommand;
  if (nodeosStart !== undefined || !hasScript) return { first, main: application, leftOut: reader.leftOut };
  const prestart = optionalScript(reader, 'prestart', refusal);
  const postNotes = scripts['poststart'] === undefined ? [] : [notRun('poststart', scripts['poststart'])];
  const leftOut = [...prestart.leftOut, ...reader.leftOut, ...postNotes];
  return { first: [...prestart.commands, ...first], main: application, leftOut };
}

const notRun = (name: string, line: string): string => `scripts.${name} is not run: ${line}`;

/**
 * A script that is left out as a whole if it cannot run. Its work, such as compiling, may already be done on this
 * machine.
 */
function optionalScript(
  reader: Reader,
  name: string,
  refusal: (command: StartCommand) => UsageError | undefined,
): { commands: StartCommand[]; leftOut: string[] } {
  const line = reader.scripts[name];
  if (line === undefined) return { commands: [], leftOut: [] };
  try {
    const commands = reader.script(name, false, 'npm start');
    const refused = commands.map(refusal).find((error) => error !== undefined);
    if (refused) throw refused;
    return { commands, leftOut: [] };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { commands: [], leftOut: [`${notRun(name, line)} (${error.message})`] };
  }
}

function withoutScript(main: string | undefined, packed: (path: string) => boolean): StartCommand {
  const plain = { args: [], nodeArgs: [], env: {}, kind: 'module' as const };
  if (main !== undefined) return { ...plain, from: 'main', main: resolveFile(main, packed) };
  const found = ['index.js', 'index.mjs', 'server.js'].find(packed);
  if (found !== undefined) return { ...plain, from: 'the default', main: found };
  throw new UsageError('package.json has neither scripts.start nor main, and there is no index.js or server.js', {
    hint: 'add "main": "FILE" to package.json',
  });
}

/**
 * Interprets a line for tests and messages. @returns its last command. @param folder what `node .` runs: the `main` of
 * package.json
 */
export function parseStart(script: string, packed: (path: string) => boolean, folder = 'index.js'): StartCommand {
  return new Reader({}, folder, packed).line(script, 'scripts.start').at(-1) as StartCommand;
}

/** Whether the command is a file, such as `./server.js` or `./bin/www`. */
const isPath = (command: string): boolean => command.includes('/');
const BIN = /^(?:\.\/)?node_modules\/\.bin\/([^/]+)$/;
const NODE = /^(?:.*\/)?node(js)?$/;

class Reader {
  /** The scripts being read, to detect a script that runs itself. */
  readonly #within: string[] = [];
  /** Messages for the user about commands that are not run. */
  readonly leftOut: string[] = [];

  constructor(
    readonly scripts: Readonly<Record<string, string>>,
    private readonly folder: string | undefined,
    private readonly packed: (path: string) => boolean,
  ) {}

  /** The commands of a script. @param withHooks include its `pre` script @param from what runs the script */
  script(name: string, withHooks: boolean, from: string): StartCommand[] {
    const line = this.scripts[name];
    const chain = [...this.#within, name];
    if (line === undefined) throw new UsageError(`${from} runs the script "${name}", and there is none`);
    if (this.#within.includes(name)) throw new UsageError(`scripts run themselves: ${chain.join(' → ')}`);
    this.#within.push(name);
    const commands = this.line(line, `scripts.${name}`);
    this.#within.pop();
    if (!withHooks) return commands;
    // Nothing runs after an application. Its leftovers disappear together with the machine.
    const postName = `post${name}`;
    if (this.scripts[postName] !== undefined) this.leftOut.push(notRun(postName, this.scripts[postName]));
    const preName = `pre${name}`;
    return [...(this.scripts[preName] === undefined ? [] : this.script(preName, false, from)), ...commands];
  }

  line(line: string, source: string): StartCommand[] {
    const from = `${source} ("${line}")`;
    return commandsIn(line, source).flatMap((words) => this.#command(words, from, line, source));
  }

  #command(all: readonly Word[], from: string, line: string, source: string): StartCommand[] {
    const { env, words } = withoutPrefix(all, () => needsShell(line, source));
    const [head, ...rest] = words;
    if (head === undefined) throw new UsageError(`${from} runs nothing`);
    const command = textOf(head);
    if (command === undefined) throw needsShell(line, source);
    if (NODE.test(command)) return this.#node(rest, env, from, () => needsShell(line, source));
    const runner = runnerOf(command, rest, this.scripts, from);
    if (runner?.kind === 'script') return extendCommands(this.script(runner.name, true, from), env, runner.args);
    if (runner?.kind === 'bin') return [{ kind: 'bin', from, bin: runner.name, args: runner.args, nodeArgs: [], env }];
    const common = { from, args: rest.map(argumentOf), nodeArgs: [], env };
    const installed = BIN.exec(command)?.[1];
    if (installed === undefined && isPath(command))
      return [{ ...common, kind: 'module', main: posix.normalize(command), executed: true }];
    return [{ ...common, kind: 'bin', bin: installed ?? command }];
  }

  #node(words: Word[], env: StartCommand['env'], from: string, shellError: () => UsageError): StartCommand[] {
    const remaining = [...words];
    const nodeArgs: string[] = [];
    const next = (): string | undefined => {
      const word = remaining.shift();
      if (word === undefined) return undefined;
      const text = textOf(word);
      if (text === undefined) throw shellError();
      return text;
    };
    let main = next();
    for (; main !== undefined && isOption(main) && main !== '--'; main = next()) {
      const behaviour = insteadOfFile(main);
      if (behaviour !== undefined) throw new UsageError(`${from} ${behaviour} (${main}), and names no file to run`);
      const [option = '', value] = main.split(/=(.*)/s, 2);
      if (option === '--run')
        return extendCommands(this.script(value ?? next() ?? '', false, from), env, argumentsOf(remaining));
      nodeArgs.push(main);
      const optionValue = takesNextWord(main) ? next() : undefined;
      if (optionValue !== undefined) nodeArgs.push(optionValue);
    }
    if (main === '--') main = next();
    if (main === undefined || main === '-') throw new UsageError(`${from} names no file to run`);
    const file = resolveFile(/^\.\/*$/.test(main) ? (this.folder ?? 'index.js') : main, this.packed);
    return [{ kind: 'module', from, main: file, args: remaining.map(argumentOf), nodeArgs, env }];
  }
}

const argumentsOf = (words: readonly Word[]): Argument[] =>
  words.filter((w, at) => at > 0 || textOf(w) !== '--').map(argumentOf);

/** The variables apply to all commands of a script. The arguments go to the last one. */
function extendCommands(commands: StartCommand[], env: StartCommand['env'], args: readonly Argument[]): StartCommand[] {
  return commands.map((command, at) => ({
    ...command,
    env: { ...env, ...command.env },
    args: at === commands.length - 1 ? [...command.args, ...args] : command.args,
  }));
}

/** Commands that only set variables or execute another command, and need no program of their own. */
const PREFIX_COMMANDS = new Set(['cross-env', 'env', 'exec']);

function withoutPrefix(
  all: readonly Word[],
  shellError: () => UsageError,
): { env: Record<string, string>; words: Word[] } {
  const words = [...all];
  const variables: [name: string, value: string][] = [];
  for (let head = words[0]; head !== undefined; head = words[0]) {
    const pair = assignment(head);
    if (pair && pair.value === undefined) throw shellError();
    if (pair) variables.push([pair.name, pair.value ?? '']);
    else if (!PREFIX_COMMANDS.has(textOf(head) ?? '')) break;
    words.shift();
  }
  return { env: Object.fromEntries(variables), words };
}

/** @returns the assignment; its value is undefined if it is not known before the start */
function assignment(word: Word): { name: string; value: string | undefined } | undefined {
  const first = word.pieces[0];
  const name = typeof first === 'string' ? /^([A-Za-z_]\w*)=/.exec(first)?.[1] : undefined;
  if (name === undefined || name.length + 1 > word.unquotedLength) return undefined;
  return { name, value: textOf(word)?.slice(name.length + 1) };
}

/** Resolves `./lib`, `lib/` or `lib` to `lib/index.js` or `lib.js`, like require(). */
function resolveFile(name: string, packed: (path: string) => boolean): string {
  const path = posix.normalize(name).replace(/\/$/, '');
  return [path, `${path}.js`, `${path}.json`, posix.join(path, 'index.js')].find(packed) ?? path;
}
