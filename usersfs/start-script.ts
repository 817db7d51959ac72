/**
 * What an application runs: `scripts.start`, else `main`, else `index.js`, else `server.js` (as npm does). There is no
 * shell on the target, so a start script is understood here: `NAME=value … node [options] FILE [arguments]`, or a
 * command that one of the dependencies installs.
 */
import { posix } from 'node:path';
import { UsageError } from '@nodeos/build';

export type StartCommand = {
  /** Where it comes from, for messages. */
  readonly from: string;
  readonly args: readonly string[];
  readonly nodeArgs: readonly string[];
  readonly env: Readonly<Record<string, string>>;
} & (
  | { readonly kind: 'module'; /** relative to the application's folder */ readonly main: string }
  | { readonly kind: 'bin'; /** a name in node_modules/.bin */ readonly bin: string }
);

/** Options of Node.js whose value may be the next word. */
const WITH_VALUE = new Set([
  '-r',
  '--require',
  '--import',
  '--loader',
  '--experimental-loader',
  '-C',
  '--conditions',
  '--env-file',
  '--env-file-if-exists',
  '--input-type',
  '--title',
]);

/** Options of Node.js that run code from the command line instead of a file. */
const RUNS_CODE = /^(-e|-p|-pe|--eval|--print)(=|$)/;

/** @param packed whether a path is among the packed files */
export function startOf(
  manifest: { readonly main?: string; readonly scripts?: Readonly<Record<string, string>> },
  packed: (path: string) => boolean,
): StartCommand {
  const script = manifest.scripts?.['start'];
  if (script !== undefined) return parseStart(script, packed, manifest.main);
  const plain = { args: [], nodeArgs: [], env: {}, kind: 'module' as const };
  if (manifest.main !== undefined) return { ...plain, from: 'main', main: asFile(manifest.main, packed) };
  const main = ['index.js', 'index.mjs', 'server.js'].find(packed);
  if (main !== undefined) return { ...plain, from: 'the default', main };
  throw new UsageError('package.json has neither scripts.start nor main, and there is no index.js or server.js', {
    hint: 'add "main": "FILE" to package.json',
  });
}

/** @param folder what `node .` runs: the `main` of package.json */
export function parseStart(script: string, packed: (path: string) => boolean, folder = 'index.js'): StartCommand {
  const words = splitWords(script);
  const from = `scripts.start ("${script}")`;
  const variables: [name: string, value: string][] = [];
  if (words[0] === 'cross-env') words.shift();
  for (let pair = assignment(words[0]); pair; pair = assignment(words[0])) {
    variables.push([pair.name, pair.value]);
    words.shift();
  }
  const env = Object.fromEntries(variables);
  const command = words.shift();
  if (command === undefined) throw new UsageError(`${from} runs nothing`);
  if (command !== 'node') return { kind: 'bin', from, bin: command, args: words, nodeArgs: [], env };
  const nodeArgs: string[] = [];
  while (words[0]?.startsWith('-')) {
    const option = words.shift() ?? '';
    if (RUNS_CODE.test(option)) throw new UsageError(`${from} runs code (${option}), and names no file to run`);
    nodeArgs.push(option);
    if (WITH_VALUE.has(option)) nodeArgs.push(words.shift() ?? '');
  }
  const main = words.shift();
  if (main === undefined) throw new UsageError(`${from} names no file to run`);
  return {
    kind: 'module',
    from,
    main: asFile(/^\.\/*$/.test(main) ? folder : main, packed),
    args: words,
    nodeArgs,
    env,
  };
}

/** `./lib`, `lib/`, `lib` → `lib/index.js` or `lib.js`, as require() would. */
function asFile(name: string, packed: (path: string) => boolean): string {
  const path = posix.normalize(name).replace(/\/$/, '');
  return [path, `${path}.js`, `${path}.json`, posix.join(path, 'index.js')].find(packed) ?? path;
}

function assignment(word: string | undefined): { name: string; value: string } | undefined {
  const match = /^([A-Za-z_]\w*)=(.*)$/s.exec(word ?? '');
  return match ? { name: match[1] ?? '', value: match[2] ?? '' } : undefined;
}

/** Words with quotes, as a shell splits them. @throws UsageError for what only a shell can do. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  const token = /(\s*)((?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+)/gy;
  const rest = line.trimEnd();
  for (let at = 0; at < rest.length; at = token.lastIndex) {
    token.lastIndex = at;
    const match = token.exec(rest);
    if (!match) throw new UsageError(`scripts.start has an unfinished quote: ${line}`);
    if (words.length > 0 && match[1]?.includes('\n')) throw needsShell(line);
    words.push(unquote(match[2] ?? '', line));
  }
  return words;
}

function unquote(word: string, line: string): string {
  const bare = word.replace(/"(?:\\.|[^"\\])*"|'[^']*'|\\./g, '');
  // Single quotes protect a dollar, but not within double quotes.
  const expanded = word.replace(
    /("(?:\\.|[^"\\])*")|'[^']*'|\\./g,
    (_, double?: string) => double?.replace(/\\./g, '') ?? '',
  );
  if (/[$`]/.test(expanded) || /[|&;<>()*?]/.test(bare)) throw needsShell(line);
  return word.replace(
    /"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/g,
    (_, double?: string, single?: string, escaped?: string) =>
      double !== undefined ? double.replace(/\\(["\\$`])/g, '$1') : (single ?? escaped ?? ''),
  );
}

function needsShell(line: string): UsageError {
  return new UsageError(`scripts.start needs a shell, and there is none on the target: ${line}`, {
    hint: 'make it `node FILE`, and do the rest in FILE',
  });
}
