/** Environment variables of the application: those that Node.js reads only at its start, and those within arguments. */
import type { Program } from '@nodeos/contract';

export type Environment = Readonly<Record<string, string>>;

/**
 * Variables that Node.js or a library below it reads once at the start. A running process does not notice a change.
 * NODE_ENV is excluded, because only programs use it. https://nodejs.org/api/cli.html#environment-variables_1
 */
const READ_AT_START = /^(NODE_(?!ENV$)|UV_|OPENSSL_|SSL_|LD_|MALLOC_|MIMALLOC_|LC_|LANG$|LANGUAGE$|ICU_)/;

/** The names of such variables whose values differ from the running process. */
export function readAtStart(environment: Environment, running: Readonly<Record<string, string | undefined>>): string[] {
  const names = Object.keys(environment).filter((name) => READ_AT_START.test(name));
  return names.filter((name) => environment[name] !== running[name]);
}

/** Expands variables in arguments like a shell. An unquoted value is split into words. */
export function argumentsOf({ args }: Pick<Program, 'args'>, environment: Environment): string[] {
  return args.flatMap((arg) => (typeof arg === 'string' ? [arg] : wordsOf(arg, environment)));
}

function wordsOf(pieces: Exclude<Program['args'][number], string>, environment: Environment): string[] {
  const words: string[] = [];
  let continuesWord = false; // the next piece continues the last word
  const add = (text: string): void => {
    if (continuesWord) words.push((words.pop() ?? '') + text);
    else words.push(text);
    continuesWord = true;
  };
  for (const piece of pieces) {
    if (typeof piece === 'string') {
      add(piece);
      continue;
    }
    const value = environment[piece.name];
    const text = value === undefined || value === '' ? (piece.fallback ?? '') : value;
    if (piece.quoted) {
      add(text);
      continue;
    }
    for (const [at, part] of text.split(/([ \t\n]+)/).entries()) {
      if (at % 2 === 1) continuesWord = false;
      else if (part !== '') add(part);
    }
  }
  return words;
}
