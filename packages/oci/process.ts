/**
 * What an image starts, settled as Docker does it: the configuration and the command line together, with names looked up
 * in the image's own files.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md, conversion.md
 */
import { posix } from 'node:path';
import { NodeosError } from '@nodeos/base';
import type { ImageFiles } from './files.js';
import type { Config, Execution } from './model.js';
import { programIn } from './program.js';
import { userIn, type User } from './users.js';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** In the order of their numbers, from 1 on: signal(7). */
const SIGNALS = (
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU ' +
  'XFSZ VTALRM PROF WINCH IO PWR SYS'
).split(' ');
const SIGTERM = 15;
const [RTMIN, RTMAX] = [34, 64];

/** What the command line says instead of the image. */
export interface ProcessOptions {
  /** In place of the image's entry point, whose arguments then do not count either. Empty: none. */
  readonly entrypoint?: string;
  /** In place of the image's arguments. */
  readonly command?: readonly string[];
  readonly user?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface ImageProcess extends Omit<User, 'home'> {
  /** The absolute path of the program. */
  readonly program: string;
  /** With the program's name as the first one. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Absolute. The image need not have it. */
  readonly cwd: string;
  /** The number of the signal that ends it. */
  readonly stopSignal: number;
}

export interface ExposedPort {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
}

/**
 * @param files of the image
 * @param subject for messages
 * @throws NodeosError if there is nothing to start, or it cannot be started
 */
export async function processOf(
  { config, architecture }: Pick<Config, 'config' | 'architecture'>,
  files: ImageFiles,
  subject: string,
  options: ProcessOptions = {},
): Promise<ImageProcess> {
  const args = argumentsOf(config, options);
  const [name] = args;
  if (name === undefined || name === '')
    throw new NodeosError(`${subject} says nothing that it starts`, { hint: 'name it after --: -- PROGRAM ARGUMENTS' });
  const stopSignal = signalIn(config.StopSignal, subject);
  const { home, ...user } = await userIn(files, options.user ?? config.User, subject);
  const env = { PATH, HOME: home, ...variablesIn(config.Env), ...options.env };
  const cwd = posix.resolve('/', options.cwd ?? config.WorkingDir);
  for (const text of [cwd, ...args, ...Object.entries(env).flat()])
    if (text.includes('\0')) throw new NodeosError(`${subject}: ${JSON.stringify(text)} has a NUL character`);
  const program = await programIn(files, { name, cwd, path: env.PATH, architecture, subject });
  return { program, args, env, cwd, ...user, stopSignal };
}

/** The program and its arguments. With another entry point, the image's arguments do not count. */
export function argumentsOf(
  { Entrypoint, Cmd }: Pick<Execution, 'Entrypoint' | 'Cmd'>,
  { entrypoint, command }: ProcessOptions,
): string[] {
  if (entrypoint === undefined) return [...Entrypoint, ...(command ?? Cmd)];
  return [...(entrypoint === '' ? [] : [entrypoint]), ...(command ?? [])];
}

/** `NAME=VALUE`. What has no `=` sets nothing. */
const variablesIn = (list: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    list
      .filter((text) => text.indexOf('=') > 0)
      .map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
  );

/** @param text `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`; empty for SIGTERM */
function signalIn(text: string, subject: string): number {
  if (text === '') return SIGTERM;
  const name = text.toUpperCase().replace(/^SIG/, '');
  const [, from, sign, offset] = /^(RTMIN|RTMAX)(?:([+-])(\d{1,2}))?$/.exec(name) ?? [];
  const real = (from === 'RTMIN' ? RTMIN : RTMAX) + (sign === '-' ? -1 : 1) * Number(offset ?? 0);
  const number = from === undefined ? (/^\d{1,2}$/.test(name) ? Number(name) : SIGNALS.indexOf(name) + 1) : real;
  if (number >= 1 && number <= RTMAX) return number;
  throw new NodeosError(`${subject}: the stop signal ${JSON.stringify(text)} is no signal of Linux`);
}

/** The ports that an image says it listens on; those of other protocols than TCP and UDP are left out. */
export const exposedPorts = ({ ExposedPorts }: Pick<Execution, 'ExposedPorts'>): ExposedPort[] =>
  ExposedPorts.flatMap((text): ExposedPort[] => {
    const [, port = '0', protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(text) ?? [];
    const number = Number(port);
    return number >= 1 && number <= 65535 ? [{ port: number, protocol: protocol as ExposedPort['protocol'] }] : [];
  });
