/** `/etc/nodeos.json`, which the build writes and the init reads, and the settings from `nodeos start`. */

/** Raise this number when an older init could misread the file. */
export const SYSTEM_VERSION = 1;

/** A program for Node.js. */
export interface Program {
  /** Absolute path of the module to run. */
  readonly main: string;
  /** Arguments. An argument that contains variables is a list of pieces. */
  readonly args: readonly (string | readonly (string | Variable)[])[];
  /** Options for Node.js itself. If there are any, Node.js is started once more with them. */
  readonly nodeArgs: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** `$NAME` in an argument. */
export interface Variable {
  readonly name: string;
  /** The value if the variable is unset or empty. */
  readonly fallback?: string;
  /** The value is not split into words. */
  readonly quoted: boolean;
}

export const USERS = ['app', 'root'] as const;
export const RESTARTS = ['never', 'on-failure', 'always'] as const;
export const ENDS = ['reboot', 'poweroff', 'halt', 'shell'] as const;

/** The contents of `/etc/nodeos.json`. */
export interface SystemConfig extends Program {
  readonly version: typeof SYSTEM_VERSION;
  readonly name: string;
  /** Programs that run to completion before the application, one after the other. `from` names them in messages. */
  readonly first: readonly (Program & { readonly from: string })[];
  readonly cwd: string;
  readonly user: (typeof USERS)[number];
  readonly restart: (typeof RESTARTS)[number];
  readonly onexit?: (typeof ENDS)[number];
}

/** The settings that `nodeos start` sends on the port `PORTS.settings`. */
export interface RunConfig {
  /** Code to run instead of the application or the REPL. */
  readonly exec?: string;
  /** Hexadecimal bytes, credited to the kernel's random number generator. */
  readonly seed?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The size of the user's terminal. */
  readonly columns?: number;
  readonly rows?: number;
  readonly dev?: DevConfig;
  readonly container?: ContainerConfig;
}

/** The process that a container's image starts, in the root that the image is. */
export interface ContainerConfig {
  /** For the host name. */
  readonly name: string;
  /** The absolute path of the program, and its arguments with its name as the first one. */
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** It is made if the image does not have it. */
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  /** The program is given the console as its terminal. */
  readonly terminal: boolean;
  /** The number of the signal that ends it. */
  readonly stopSignal: number;
}

/** The application's files are a folder of the host, and it is started again when the host says so. */
export interface DevConfig {
  /** The tag of the shared folder (9p). */
  readonly tag: string;
  /** The port of the inspector. */
  readonly inspect?: number;
}

/** What the guest tells on the port `PORTS.control`. */
export type DevReport =
  /** The application listens on a port. */
  | { readonly event: 'listening'; readonly port: number }
  /** The application has ended by itself. It starts again after the next change. */
  | { readonly event: 'ended'; readonly status: number; readonly signal?: string }
  /** The application could not be started. */
  | { readonly event: 'failed'; readonly message: string };

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string';
const isPath: Check = (value) => typeof value === 'string' && value.startsWith('/');
const isListOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isOneOf =
  (values: readonly string[]): Check =>
  (value) =>
    values.includes(value as string);
const isEnvironment: Check = (value) => isRecord(value) && Object.values(value).every(isText);
const isPiece: Check = (value) => isText(value) || (isRecord(value) && isText(value['name']));

type Fields = Readonly<Record<string, readonly [expected: string, check: Check]>>;

const PROGRAM: Fields = {
  main: ['an absolute path', isPath],
  args: ['a list of arguments', isListOf((value) => isText(value) || isListOf(isPiece)(value))],
  nodeArgs: ['a list of text', isListOf(isText)],
  env: ['variables', isEnvironment],
};

const SYSTEM: Fields = {
  ...PROGRAM,
  name: ['text', isText],
  first: ['a list of programs', isListOf((value) => isRecord(value) && findInvalid(value, PROGRAM) === undefined)],
  cwd: ['an absolute path', isPath],
  user: [USERS.join(' or '), isOneOf(USERS)],
  restart: [RESTARTS.join(', '), isOneOf(RESTARTS)],
  onexit: [ENDS.join(', '), (value) => value === undefined || isOneOf(ENDS)(value)],
};

/** @returns a description of the first wrong field; undefined if all are right */
function findInvalid(value: Readonly<Record<string, unknown>>, fields: Fields): string | undefined {
  const invalid = Object.entries(fields).find(([name, [, check]]) => !check(value[name]));
  return invalid && `${invalid[0]} is not ${invalid[1][0]}`;
}

/** Validates a configuration. @throws Error naming the wrong field or the unknown version */
export function checkSystemConfig(value: unknown): SystemConfig {
  if (!isRecord(value)) throw new Error('it is no object');
  const { version } = value;
  if (version !== SYSTEM_VERSION)
    throw new Error(`its version is ${JSON.stringify(version)}; this init knows ${SYSTEM_VERSION}`);
  const problem = findInvalid(value, SYSTEM);
  if (problem !== undefined) throw new Error(problem);
  return value as unknown as SystemConfig;
}
