/** The interface of a command. It can be called in-process, with its own standard streams and signals. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { UsageError, visible } from '@nodeos/base';

export interface Io {
  readonly stdout: NodeJS.WritableStream & { isTTY?: boolean; columns?: number; rows?: number };
  readonly stderr: NodeJS.WritableStream & { isTTY?: boolean };
  readonly stdin: { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by the first Ctrl-C: stop and leave nothing behind. */
  readonly signal: AbortSignal;
  /** Aborted by the second Ctrl-C: stop at once. */
  readonly kill: AbortSignal;
  /** Installs packages of this machine, for these rows of host/needs.js. Without it, an error says how to. @returns success */
  readonly install?: (needs: readonly string[]) => Promise<boolean>;
}

/** Prints a message of ours to standard error, separate from the command's output. Foreign text in it is escaped. */
export const printMessage = (io: Pick<Io, 'stderr'>, text: string): void =>
  void io.stderr.write(`nodeos: ${visible(text, LONGEST_LINE)}\n`);

const LONGEST_LINE = 8000;

export interface Option {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** The placeholder of the value in the help text: `DIR`. */
  readonly value?: string;
  readonly help: string;
}

export interface Command {
  readonly name: string;
  /** One line for the overview. */
  readonly summary: string;
  /**
   * The operands in the help text: `[LAYER…]`. If they contain `--`, the arguments after `--` are passed on unparsed.
   */
  readonly operands: string;
  readonly options: Readonly<Record<string, Option>>;
  readonly examples: readonly (readonly [command: string, meaning: string])[];
  /** @returns the exit status */
  run(args: Parsed, io: Io): Promise<number>;
}

/** Several actions under one name, each with its own options: `nodeos nbd serve`. */
export interface Group {
  readonly name: string;
  /** One line for the overview. */
  readonly summary: string;
  /** The actions; their names begin with the group's name. */
  readonly actions: readonly Command[];
}

/** What the file of a command or a group says; its name and its summary are in the table. */
export type Unlisted<T extends Command | Group> = Omit<T, 'name' | 'summary'>;

/** A row of the table of commands. */
export interface Listed {
  readonly name: string;
  /** One line for the overview. */
  readonly summary: string;
  load(): Promise<Command | Group>;
}

export interface Parsed {
  readonly operands: readonly string[];
  /** The arguments after `--`, for another program. */
  readonly passthrough: readonly string[];
  text(name: string): string | undefined;
  texts(name: string): readonly string[];
  flag(name: string): boolean;
  /**
   * The value of a numeric option; undefined if it is not given. @throws UsageError if it is not a number of at least
   * `minimum`
   */
  number(name: string, minimum: number): number | undefined;
}

/** Parses a command's arguments. @throws UsageError naming the wrong option */
export function parse(command: Pick<Command, 'name' | 'operands' | 'options'>, args: readonly string[]): Parsed {
  const at = command.operands.includes('--') ? args.indexOf('--') : -1;
  const ownArgs = at < 0 ? args : args.slice(0, at);
  const passthrough = at < 0 ? [] : args.slice(at + 1);
  const options = Object.fromEntries(
    Object.entries(command.options).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short === undefined ? {} : { short }), ...(multiple ? { multiple } : {}) },
    ]),
  ) as NonNullable<ParseArgsConfig['options']>;
  let values: Record<string, unknown>;
  let operands: string[];
  try {
    ({ values, positionals: operands } = parseArgs({
      args: [...ownArgs],
      options,
      allowPositionals: true,
      strict: true,
    }));
  } catch (error) {
    const message = (error as Error).message.replace(/\. To specify a positional.*/s, '');
    throw new UsageError(`nodeos ${command.name}: ${message}`, { hint: `see nodeos ${command.name} --help` });
  }
  return {
    operands,
    passthrough,
    text: (name) => values[name] as string | undefined,
    texts: (name) => (values[name] as string[] | undefined) ?? [],
    flag: (name) => values[name] === true,
    number(name, minimum) {
      const text = values[name] as string | undefined;
      if (text === undefined) return undefined;
      const number = Number(text);
      if (text.trim() !== '' && Number.isFinite(number) && number >= minimum) return number;
      throw new UsageError(`--${name} ${text}: expected a number of at least ${minimum}`);
    },
  };
}

export function helpOf(command: Command): string {
  const rows = Object.entries({ ...command.options, help: HELP }).map(([name, option]) => {
    const short = option.short === undefined ? '    ' : `-${option.short}, `;
    return [`  ${short}--${name}${option.value === undefined ? '' : ` ${option.value}`}`, option.help] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  const examples = command.examples.map(([line, meaning]) => `  ${line}\n      ${meaning}`);
  return [
    `nodeos ${command.name}${command.operands === '' ? '' : ` ${command.operands}`}`,
    `\n${command.summary}\n`,
    'Options:',
    ...rows.map(([left, right]) => left.padEnd(width) + right),
    '\nExamples:',
    ...examples,
    '',
  ].join('\n');
}

/** The help of a group: each action with its summary and its first example. */
export function helpOfGroup({ name, summary, actions }: Group): string {
  const rows = actions.map((action) => [`  ${actionOf(action)} ${action.operands}`, action.summary] as const);
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  const examples = actions.flatMap((action) => action.examples.slice(0, 1));
  return [
    `nodeos ${name} ACTION`,
    `\n${summary}\n`,
    'Actions:',
    ...rows.map(([left, right]) => left.padEnd(width) + right),
    '\nExamples:',
    ...examples.map(([line, meaning]) => `  ${line}\n      ${meaning}`),
    `\nnodeos ${name} ACTION --help says more about each.`,
    '',
  ].join('\n');
}

/** The action's name without the group's name. */
export const actionOf = ({ name }: Command): string => name.slice(name.lastIndexOf(' ') + 1);

const HELP: Option = { type: 'boolean', short: 'h', help: 'this text' };
