/**
 * Parses lines of package.json's `scripts`, which npm passes to a shell. The target has no shell. So this module
 * interprets the part of the shell's language that needs no other program: words, quotes, `&&`, and `$NAME` within an
 * argument. https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html
 */
import { UsageError } from '@nodeos/base';
import type { Variable } from '@nodeos/contract';

export type Piece = string | Variable;
/** A fixed word, or a list of pieces that the target joins. */
export type Argument = string | readonly Piece[];

export interface Word {
  readonly pieces: readonly Piece[];
  /** Number of unquoted characters at the start: `A=1` is an assignment, `"A=1"` is not. */
  readonly unquotedLength: number;
}

/** The default origin of a line, for messages. */
const SOURCE = 'scripts.start';
/** Characters that are ordinary only within quotes. */
const SHELL_ONLY = /[|&;<>()*?[`\n]/;
const VARIABLE = /\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::-([^{}$`"'\\]*))?\})/y;
/** Characters that a backslash within double quotes escapes. */
const ESCAPED_IN_QUOTES = '"\\$`';

/** Splits a line at `&&`. @returns the words of each command. @throws UsageError for anything that needs a shell */
export function commandsIn(line: string, source = SOURCE): Word[][] {
  return new Splitter(line.trim(), source).commands();
}

/** The words of a single command without variables. @throws UsageError for anything else */
export function splitWords(line: string): string[] {
  const [words = [], ...others] = commandsIn(line);
  if (others.length > 0) throw needsShell(line, SOURCE);
  return words.map((word) => textOf(word) ?? fail(needsShell(line, SOURCE)));
}

/** The text of a word. @returns undefined if the word is missing or contains a variable */
export const textOf = (word: Word | undefined): string | undefined =>
  word?.pieces.every((piece) => typeof piece === 'string') ? word.pieces.join('') : undefined;

export const argumentOf = (word: Word): Argument => textOf(word) ?? word.pieces;

/** @param source the origin of the line: `scripts.start` */
export function needsShell(line: string, source: string): UsageError {
  return new UsageError(`${source} needs a shell, and there is none on the target: ${line}`, {
    hint: 'make it `node FILE`, and do the rest in FILE; or give "nodeos": {"start": "node FILE"} for this system alone',
  });
}

function fail(error: Error): never {
  throw error;
}

class Splitter {
  #at = 0;

  constructor(
    private readonly line: string,
    private readonly source: string,
  ) {}

  commands(): Word[][] {
    const commands: Word[][] = [[]];
    for (this.#skipSpace(); this.#at < this.line.length; this.#skipSpace()) {
      if (!this.line.startsWith('&&', this.#at)) commands.at(-1)?.push(this.#word());
      else if (commands.at(-1)?.length === 0) throw needsShell(this.line, this.source);
      else {
        this.#at += 2;
        commands.push([]);
      }
    }
    if (commands.length > 1 && commands.at(-1)?.length === 0) throw needsShell(this.line, this.source);
    return commands;
  }

  #skipSpace(): void {
    while (' \t'.includes(this.line[this.#at] ?? '.')) this.#at++;
  }

  #word(): Word {
    const pieces: Piece[] = [];
    let text = '';
    let unquotedLength: number | undefined;
    const add = (piece: Piece): void => {
      if (typeof piece === 'string') text += piece;
      else {
        if (text !== '') pieces.push(text);
        pieces.push(piece);
        text = '';
      }
    };
    for (let next = this.line[this.#at]; next !== undefined && !/\s/.test(next); next = this.line[this.#at]) {
      if (next === "'" || next === '"' || next === '\\') unquotedLength ??= text.length;
      if (next === "'") add(this.#singleQuoted());
      else if (next === '"') this.#doubleQuoted(add);
      else if (next === '\\') add(this.#escaped());
      else if (next === '$') add(this.#variable(false));
      else if (this.line.startsWith('&&', this.#at)) break;
      else if (SHELL_ONLY.test(next)) throw needsShell(this.line, this.source);
      else add(this.line[this.#at++] ?? '');
    }
    if (/\s/.test(this.line[this.#at] ?? ' ') && !' \t'.includes(this.line[this.#at] ?? ' '))
      throw needsShell(this.line, this.source);
    if (text !== '' || pieces.length === 0) pieces.push(text);
    return { pieces, unquotedLength: unquotedLength ?? text.length };
  }

  #singleQuoted(): string {
    const end = this.line.indexOf("'", this.#at + 1);
    if (end < 0) throw this.#unfinished();
    const text = this.line.slice(this.#at + 1, end);
    this.#at = end + 1;
    return text;
  }

  #doubleQuoted(add: (piece: Piece) => void): void {
    this.#at++;
    add('');
    for (let next = this.line[this.#at]; next !== '"'; next = this.line[this.#at]) {
      if (next === undefined) throw this.#unfinished();
      if (next === '`') throw needsShell(this.line, this.source);
      if (next === '$') add(this.#variable(true));
      else if (next === '\\' && ESCAPED_IN_QUOTES.includes(this.line[this.#at + 1] ?? ' ')) add(this.#escaped());
      else {
        add(next);
        this.#at++;
      }
    }
    this.#at++;
  }

  #escaped(): string {
    const text = this.line[this.#at + 1];
    if (text === undefined) throw this.#unfinished();
    this.#at += 2;
    return text;
  }

  #variable(quoted: boolean): Variable {
    VARIABLE.lastIndex = this.#at;
    const match = VARIABLE.exec(this.line);
    if (!match) throw needsShell(this.line, this.source);
    this.#at = VARIABLE.lastIndex;
    const [, plain, braced, fallback] = match;
    return { name: plain ?? braced ?? '', quoted, ...(fallback === undefined ? {} : { fallback }) };
  }

  #unfinished(): UsageError {
    return new UsageError(`${this.source} has an unfinished quote: ${this.line}`);
  }
}
