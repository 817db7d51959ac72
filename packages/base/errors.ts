/** Errors that a user can act on. A message says what was attempted, on what, with which values, and how to fix it. */
import { stripVTControlCharacters } from 'node:util';
import { visibleText } from './visible.js';

export interface ErrorDetails {
  /** What the user can do about it. It is printed on its own line. */
  readonly hint?: string;
  /** The last lines that a tool or a virtual machine printed. */
  readonly lines?: readonly string[];
  /** The path of the complete output. */
  readonly log?: string;
  readonly cause?: unknown;
}

/**
 * An expected failure. The CLI prints its message, lines and hint, without a stack trace. Much of that text comes from
 * servers and tools, so the constructor escapes every character that a terminal would obey or hide.
 */
export class NodeosError extends Error {
  readonly hint: string | undefined;
  readonly lines: readonly string[];
  readonly log: string | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(visibleText(message), details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.hint = details.hint === undefined ? undefined : visibleText(details.hint);
    this.lines = (details.lines ?? []).map(lineOf);
    this.log = details.log;
  }
}

/** Removes colours and escapes other hidden characters. Tabs stay. */
const lineOf = (line: string): string => visibleText(stripVTControlCharacters(line)).replaceAll('\n', '\\n');

/** The command line is wrong. The exit status is 2. */
export class UsageError extends NodeosError {}

/** A program of the host is not installed. */
export class MissingProgramError extends NodeosError {
  /** @param message says what was attempted; default: nothing but to find the program */
  constructor(
    readonly program: string,
    message = `${program} is not installed`,
    details: ErrorDetails = {},
  ) {
    super(message, { hint: `${program} is not installed: install it, or add its folder to PATH`, ...details });
  }
}

/** The user or a parent process ended the work. The exit status is 130 (SIGINT) or 143 (SIGTERM). */
export class InterruptedError extends NodeosError {
  constructor(readonly signal: NodeJS.Signals = 'SIGINT') {
    super(`interrupted by ${signal}`);
  }
}

/** A one-line message for a person, from any thrown value. */
export function messageOf(error: unknown): string {
  // Node.js gives an AggregateError no message of its own when every address of a host refuses the connection.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join(', ');
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node.js system error; undefined for any other value. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}
