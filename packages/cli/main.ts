/** The `nodeos` command: finds the command, runs it, and turns errors into messages and an exit status. */
import { InterruptedError, NodeosError, UsageError } from '@nodeos/base';
import { actionOf, helpOf, helpOfGroup, parse, type Command, type Group, type Io } from './command.js';
import { COMMANDS } from './commands/index.js';
import { hintFor } from './missing-tools.js';
import { ReaderGoneError } from './output.js';

/**
 * Runs a command line.
 * @returns the exit status: 0; 1 for a failure, including one during the cleanup of an interrupted command; 2 for wrong
 * usage; 128 + the signal's number when interrupted
 */
export async function main(args: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(args, io);
  } catch (error) {
    const interruption = io.signal.aborted ? [io.signal.reason as unknown] : [];
    const [status = 1] = [...failuresIn(error, io.signal), ...interruption].map((failure) => report(failure, io));
    return status;
  }
}

/** The individual failures, without those that are only a consequence of the interruption. */
function failuresIn(error: unknown, signal: AbortSignal): unknown[] {
  if (error instanceof AggregateError) return error.errors.flatMap((cause) => failuresIn(cause, signal));
  return isConsequence(error, signal) ? [] : [error];
}

function isConsequence(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted || !(error instanceof Error)) return false;
  if (error === signal.reason || error instanceof InterruptedError || error.name === 'AbortError') return true;
  return isConsequence(error.cause, signal);
}

async function dispatch([name, ...args]: readonly string[], io: Io): Promise<number> {
  if (name === undefined || asksForHelp(name)) {
    const command = COMMANDS.find((candidate) => candidate.name === args[0]);
    if (command) return help(await command.load(), args.slice(1), io);
    io.stdout.write(overview());
    return name === undefined ? 2 : 0;
  }
  const listed = COMMANDS.find((candidate) => candidate.name === name);
  if (!listed)
    throw new UsageError(`nodeos: unknown command "${name}"`, {
      hint: `the commands are: ${COMMANDS.map((c) => c.name).join(', ')}`,
    });
  const command = await listed.load();
  return 'actions' in command ? runAction(command, args, io) : runCommand(command, args, io);
}

const asksForHelp = (word: string): boolean => ['--help', '-h', 'help'].includes(word);

function runCommand(command: Command, args: readonly string[], io: Io): Promise<number> | number {
  const ownArgs = args.slice(0, args.includes('--') ? args.indexOf('--') : args.length);
  if (ownArgs.includes('--help') || ownArgs.includes('-h')) return help(command, [], io);
  return command.run(parse(command, args), io);
}

function runAction(group: Group, args: readonly string[], io: Io): Promise<number> | number {
  const [name, ...rest] = args;
  if (name === undefined || asksForHelp(name)) {
    help(group, rest, io);
    return name === undefined ? 2 : 0;
  }
  const action = group.actions.find((candidate) => actionOf(candidate) === name);
  if (action) return runCommand(action, rest, io);
  throw new UsageError(`nodeos ${group.name}: unknown action "${name}"`, {
    hint: `${group.actions.map(actionOf).join(', ')}; see nodeos ${group.name} --help`,
  });
}

function help(command: Command | Group, [name]: readonly string[], io: Io): number {
  const action = 'actions' in command ? command.actions.find((candidate) => actionOf(candidate) === name) : command;
  io.stdout.write(action ? helpOf(action) : helpOfGroup(command as Group));
  return 0;
}

function overview(): string {
  const rows = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(11)}${summary}`);
  return ['nodeos COMMAND [OPTIONS]', '', ...rows, '', 'nodeos COMMAND --help says more about each.', ''].join('\n');
}

const SIGNAL_NUMBERS: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

function report(error: unknown, io: Io): number {
  if (error instanceof ReaderGoneError) return ReaderGoneError.STATUS;
  if (error instanceof InterruptedError) {
    io.stderr.write(`nodeos: ${error.message}\n`);
    return 128 + (SIGNAL_NUMBERS[error.signal] ?? 2);
  }
  if (!(error instanceof NodeosError)) {
    io.stderr.write(`nodeos: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return 1;
  }
  const hint = hintFor(error) ?? error.hint;
  const lines = [
    ...error.lines.map((line) => `  ${line}`),
    `nodeos: ${error.message}`,
    ...(error.log === undefined ? [] : [`  the whole output: ${error.log}`]),
    ...(hint === undefined ? [] : [`  ${hint}`]),
  ];
  io.stderr.write(lines.join('\n') + '\n');
  return error instanceof UsageError ? 2 : 1;
}
