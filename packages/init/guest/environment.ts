/** Variables of the application: those that a running Node.js has read already, and those within arguments. */
import type { Program } from '@nodeos/contract';

export type Environment = Readonly<Record<string, string>>;

/**
 * What Node.js, or a library below it, reads once, when it starts: a process that runs already does not see it change.
 * NODE_ENV is for programs. https://nodejs.org/api/cli.html#environment-variables_1
 */
const READ_AT_START = /^(NODE_(?!ENV$)|UV_|OPENSSL_|SSL_|LD_|MALLOC_|MIMALLOC_|LC_|LANG$|LANGUAGE$|ICU_)/;

/** The variables that are new to a process with another environment. */
export function readAtStart(environment: Environment, running: Readonly<Record<string, string | undefined>>): string[] {
  const names = Object.keys(environment).filter((name) => READ_AT_START.test(name));
  return names.filter((name) => environment[name] !== running[name]);
}

/** As a shell puts them together: what is not quoted becomes as many words as there are in it. */
export function argumentsOf({ args }: Pick<Program, 'args'>, environment: Environment): string[] {
  return args.flatMap((arg) => (typeof arg === 'string' ? [arg] : wordsOf(arg, environment)));
}

function wordsOf(pieces: Exclude<Program['args'][number], string>, environment: Environment): string[] {
  const words: string[] = [];
  let open = false; // the next piece belongs to the last word
  const add = (text: string): void => {
    if (open) words.push((words.pop() ?? '') + text);
    else words.push(text);
    open = true;
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
      if (at % 2 === 1) open = false;
      else if (part !== '') add(part);
    }
  }
  return words;
}
