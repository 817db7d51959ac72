/**
 * What a shell can offer at each place of a command line, from the tables of the commands. A placeholder such as `DIR`
 * has a row here; alternatives such as `musl|glibc` are offered as they are.
 */
import { FORMATS } from '@nodeos/bootfs';
import { stepsOf, type Step } from '@nodeos/engine';
import { CODEC_NAMES } from '@nodeos/store';
import { DEFAULT_TARGET, targetOf, TARGETS } from '@nodeos/targets';
import { PROGRAMS } from '../image/programs.js';
import { actionOf, type Command, type Group, type Option } from '../command.js';
import { systemOf } from '../system.js';

/** What may stand at one place. */
export interface Words {
  readonly names: readonly string[];
  /** Files or folders may stand there as well. */
  readonly files?: 'file' | 'folder';
  /** Several names with commas between them. */
  readonly isList?: boolean;
}

export interface CompletedOption {
  readonly name: string;
  readonly short?: string;
  readonly help: string;
  readonly isMultiple: boolean;
  /** The placeholder of its value; undefined for an option without one. */
  readonly value?: string;
  readonly words: Words;
}

export interface Operand {
  readonly placeholder: string;
  readonly words: Words;
  /** Any number of them. */
  readonly isRepeated: boolean;
}

/** A command, or an action of a group. */
export interface Leaf {
  /** `['nbd', 'serve']` */
  readonly path: readonly string[];
  readonly summary: string;
  readonly options: readonly CompletedOption[];
  readonly operands: readonly Operand[];
}

export interface Branch {
  readonly name: string;
  readonly summary: string;
  /** The command itself, or the actions of a group. */
  readonly leaves: readonly Leaf[];
  readonly isGroup: boolean;
}

const FREE: Words = { names: [] };
const FILE: Words = { names: [], files: 'file' };
const FOLDER: Words = { names: [], files: 'folder' };
const named = (names: readonly string[]): Words => ({ names });

/** Placeholders whose values nobody can list. */
const UNKNOWN = [
  '"…"',
  'ARGUMENT',
  'CODE',
  'FROM=TO',
  'HEX',
  'HOST:GUEST',
  'KEY',
  'N',
  'NAME',
  'NAME=VALUE',
  'OS/ARCH',
  'PATH',
  'PROGRAM',
  'S',
  'SIZE',
  'TEXT',
  'TIME',
  'UID[:GID]',
  'USER[:GROUP]',
];
const UNKNOWN_ADDRESSES = ['URI', 'URL', 'VERSION', 'PORT', '[HOST:]PORT', 'NEW-NAME'];
const FILES = [
  'FILE',
  'FILE[:PATH]',
  'SOURCE',
  '[NAME=]SOURCE',
  'DESTINATION',
  'DEVICE',
  '/dev/nbdN',
  'TRACE',
  'IMAGE',
  'IMAGE[:PARTITION]',
  'IMAGE[:PARTITION][/PATH]',
  'FROM',
  'TO',
  'OVERLAY',
];
/** Images are behind the folder of a store: `/srv/store:debian-12`. */
const STORES = ['STORE', 'STORE:NAME', '[NAME=]STORE:NAME', '[FILE=]STORE:NAME'];
const FOLDERS = ['APP', 'DIR', 'FOLDER', 'REMOTE'];

export type Vocabulary = Readonly<Record<string, Words>>;

/** The rows of all placeholders. */
export async function vocabulary(): Promise<Vocabulary> {
  const { layers } = await systemOf(targetOf(DEFAULT_TARGET));
  const formats = FORMATS.map(({ name }) => name);
  const rows = (placeholders: readonly string[], words: Words): Record<string, Words> =>
    Object.fromEntries(placeholders.map((placeholder) => [placeholder, words]));
  return {
    ...rows([...UNKNOWN, ...UNKNOWN_ADDRESSES], FREE),
    ...rows(FILES, FILE),
    ...rows([...FOLDERS, ...STORES], FOLDER),
    T: named(TARGETS.map(({ name }) => name)),
    'F[,F…]': { names: formats, isList: true },
    FORMAT: named(FORMATS.filter(({ image }) => image === 'raw').map(({ name }) => name)),
    LAYER: named([...new Set([...layers.map(({ name }) => name), 'app', ...formats])]),
    STEP: named(stepNames(stepsOf(...layers.flatMap(({ artifacts }) => artifacts)))),
    CODEC: named(CODEC_NAMES),
    TYPE: named(Object.keys(PROGRAMS)),
    DRIVE: named(['virtio', 'usb', 'sata', 'nvme', 'cdrom']),
  };
}

/** The names of steps and of all that they are made from. */
function stepNames(steps: readonly Step[]): string[] {
  const names = new Set<string>();
  const visit = (step: Step): void => {
    Object.values(step.inputs ?? {}).forEach(visit);
    names.add(step.name);
  };
  steps.forEach(visit);
  return [...names].sort();
}

/** @throws Error for a placeholder without a row */
function wordsFor(placeholder: string, rows: Vocabulary): Words {
  const found = placeholder.split('|').map((part) => {
    const row = rows[part] ?? (/^[a-z0-9]/.test(part) ? named([part]) : undefined);
    if (row) return row;
    throw new Error(`completion/words.ts has no row for the placeholder ${placeholder}`);
  });
  return union(found);
}

/** What one of several may be. */
export function union(list: readonly Words[]): Words {
  const files = list.find((words) => words.files !== undefined)?.files;
  return {
    names: [...new Set(list.flatMap(({ names }) => names))],
    ...(files === undefined ? {} : { files }),
    ...(list.some(({ isList }) => isList) ? { isList: true } : {}),
  };
}

function completedOption([name, option]: [string, Option], rows: Vocabulary): CompletedOption {
  const { short, value, help, multiple = false } = option;
  return {
    name,
    help,
    isMultiple: multiple,
    ...(short === undefined ? {} : { short }),
    ...(value === undefined ? {} : { value }),
    words: value === undefined ? FREE : wordsFor(value, rows),
  };
}

const HELP: CompletedOption = { name: 'help', short: 'h', help: 'how it is used', isMultiple: false, words: FREE };

/** The operands before `--`: `SOURCE [/dev/nbdN]`. */
function operandsOf({ operands }: Command, rows: Vocabulary): Operand[] {
  const [own = ''] = operands.split(/\[?--/);
  const words = own.split(' ').filter((word) => word !== '');
  return words.map((word) => {
    const inner = /^\[(.*)\]$/.exec(word)?.[1] ?? word;
    const placeholder = inner.replace('…', '');
    return { placeholder, words: wordsFor(placeholder, rows), isRepeated: word.includes('…') };
  });
}

function leafOf(command: Command, rows: Vocabulary): Leaf {
  return {
    path: command.name.split(' '),
    summary: command.summary,
    options: [...Object.entries(command.options).map((entry) => completedOption(entry, rows)), HELP],
    operands: operandsOf(command, rows),
  };
}

/** Everything that can be completed. */
export const branchesOf = (commands: readonly (Command | Group)[], rows: Vocabulary): Branch[] =>
  commands.map((command) => ({
    name: command.name,
    summary: command.summary,
    isGroup: 'actions' in command,
    leaves: ('actions' in command ? command.actions : [command]).map((leaf) => leafOf(leaf, rows)),
  }));

export const nameOfAction = ({ path }: Leaf): string => actionOf({ name: path.join(' ') } as Command);

/** Quotes a text for any of the shells. */
export const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
