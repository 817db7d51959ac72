/** Errors that a user can act on: what was attempted, on what, with which values, and what to do about it. */
import { stripVTControlCharacters } from 'node:util';
import { visibleText } from './visible.js';

export interface ErrorDetails {
  /** What the user can do about it; printed on a line of its own. */
  readonly hint?: string;
  /** The last lines that a tool or a machine printed. */
  readonly lines?: readonly string[];
  /** Where the whole output is. */
  readonly log?: string;
  readonly cause?: unknown;
}

/**
 * An expected failure. The CLI prints its message, lines and hint, without a stack. Much of them are words of others, such
 * as servers and tools: they are made so that a terminal shows them, and does nothing else.
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

/** Colours go, and what else is hidden is shown; tabs stay. */
const lineOf = (line: string): string => visibleText(stripVTControlCharacters(line)).replaceAll('\n', '\\n');

/** The command line is wrong; exit status 2. */
export class UsageError extends NodeosError {}

/** The user, or a parent process, ended the work; exit status 130 (SIGINT) or 143 (SIGTERM). */
export class InterruptedError extends NodeosError {
  constructor(readonly signal: NodeJS.Signals = 'SIGINT') {
    super(`interrupted by ${signal}`);
  }
}

/** One line for a human, from anything that was thrown. */
export function messageOf(error: unknown): string {
  // Node.js gives no message of its own when each address of a host refused.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join(', ');
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node.js system error, if it is one. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}
