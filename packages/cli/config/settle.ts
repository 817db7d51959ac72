/** Settles what a command works with: options, environment, configuration file, package.json and defaults, in this order. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseJson, readManifest, type PackageJson } from '@nodeos/app';
import { printMessage, type Io, type Parsed } from '../command.js';
import { wordsOf } from '../sharing.js';
import { inside, record, unknownKey } from './checks.js';
import { loadConfigFile, type ConfigFile } from './file.js';
import { optionsOf, withConfiguration } from './options.js';
import { KEY_NAMES, KEYS, type Key, type KeyName, type Values } from './schema.js';

/** One value, and where it comes from: a file, a variable, an option, or `default`. */
export interface Row {
  readonly key: string;
  readonly value: unknown;
  readonly from: string;
}

/** What a command works with. All of it is frozen. */
export interface Settled {
  /** The command's arguments. Options that are not given have the values of the configuration. */
  readonly args: Parsed;
  /** The application's folder; undefined for a system without one. */
  readonly app: string | undefined;
  /** The values of files and variables, without defaults and options. */
  readonly values: Values;
  /** The keys that the project's files trust. They count if the user trusts them too. */
  readonly projectKeys: readonly string[];
  /** All values, in the order of the keys. */
  readonly rows: readonly Row[];
}

/** A place that values come from. */
interface Source {
  readonly name: string;
  readonly values: Values;
}

/**
 * Reads the configuration of an application and settles everything with the options.
 * @param folder the folder that the user names. Undefined: the working folder if it has a configuration, else none
 * @throws UsageError naming source, key and value; NodeosError if the configuration's program fails
 */
export async function settle(
  folder: string | undefined,
  args: Parsed,
  io: Pick<Io, 'env' | 'stderr'>,
): Promise<Settled> {
  const file = await loadConfigFile(resolve(folder ?? '.'));
  const isConfigured = folder !== undefined || file !== undefined || (await hasNodeosKey('.'));
  if (!isConfigured) return settleOptions(args, io);
  if (folder === undefined) printMessage(io, `the application of this folder (${file?.name ?? 'package.json'})`);
  const fileSource = file && sourceOf(file);
  const app = fileSource?.values.app as string | undefined;
  const dir = app ?? folder ?? '.';
  const manifest = packageSource(dir, await readManifest(dir));
  return combine(args, dir, [manifest, ...(fileSource ? [fileSource] : []), environmentOf(io)]);
}

/** Settles options and variables alone, for what has no configuration. */
export const settleOptions = (args: Parsed, io: Pick<Io, 'env'>): Settled =>
  combine(args, undefined, [environmentOf(io)]);

/** Whether a folder's package.json has the key `nodeos`. An unreadable one has no configuration. */
async function hasNodeosKey(dir: string): Promise<boolean> {
  try {
    const manifest = parseJson(await readFile(join(dir, 'package.json'), 'utf8'));
    return typeof manifest === 'object' && manifest !== null && Object.hasOwn(manifest, 'nodeos');
  } catch {
    return false;
  }
}

const sourceOf = ({ name, dir, content }: ConfigFile): Source => ({ name, values: checkConfig(content, name, dir) });

const packageSource = (dir: string, manifest: PackageJson): Source => ({
  name: 'package.json',
  values: checkConfig(manifest.nodeos ?? {}, 'package.json', resolve(dir), 'nodeos'),
});

function environmentOf({ env }: Pick<Io, 'env'>): Source {
  const given = KEY_NAMES.flatMap((name) => {
    const words = wordsOf(env[KEYS[name].variable ?? '']);
    return words.length > 0 ? [[name, words] as const] : [];
  });
  return { name: 'environment', values: Object.fromEntries(given) };
}

/**
 * Checks all that a source says.
 * @param dir the absolute folder that paths are relative to
 * @param prefix the key that holds the configuration, such as `nodeos` in package.json
 * @throws UsageError naming the source, the key, its value and what was expected
 */
export function checkConfig(content: unknown, source: string, dir: string, prefix = ''): Values {
  const place = { source, key: prefix };
  const given = record(content, place);
  for (const name of Object.keys(given)) if (!Object.hasOwn(KEYS, name)) unknownKey(inside(place, name), KEY_NAMES);
  const present = KEY_NAMES.filter((name) => given[name] !== undefined);
  const checked = present.map((name) => {
    const value = KEYS[name].check(given[name], inside(place, name));
    return [name, KEYS[name].isPath ? located(value, dir) : value] as const;
  });
  return Object.fromEntries(checked);
}

/** Makes the texts of a value absolute paths. */
function located(value: unknown, dir: string): unknown {
  if (typeof value === 'string') return resolve(dir, value);
  if (Array.isArray(value)) return value.map((item) => located(item, dir));
  const entries = Object.entries(value as Readonly<Record<string, unknown>>);
  return Object.fromEntries(entries.map(([name, item]) => [name, located(item, dir)]));
}

/** @param sources the first one is the weakest */
function combine(args: Parsed, app: string | undefined, sources: readonly Source[]): Settled {
  const usable = sources.map((source) => ({ ...source, values: withoutExcluded(source.values, args) }));
  const values: Values = Object.fromEntries(
    KEY_NAMES.flatMap((name) => {
      const found = usable.filter((source) => source.values[name] !== undefined);
      return found.length === 0 ? [] : [[name, merged(KEYS[name], name, found)]];
    }),
  );
  const options = { name: 'option', values: optionsOf(args) };
  const rows = KEY_NAMES.flatMap((name) => rowsOf(name, [...usable, options], { ...values, ...options.values }));
  const files = usable.filter(({ name }) => name !== 'environment');
  const projectKeys = files.flatMap((source) => source.values.trustedKeys ?? []);
  return deepFrozen({ args: withConfiguration(args, values), app, values, projectKeys, rows });
}

/** Leaves out what an option makes meaningless. */
function withoutExcluded(values: Values, args: Parsed): Values {
  const isOther = (option: string): boolean => {
    const key = KEY_NAMES.find((name) => KEYS[name].option === option);
    const given = args.text(option);
    return given !== undefined && (key === undefined || given !== values[key]);
  };
  const kept = Object.entries(values).filter(([name]) => !KEYS[name as KeyName].unless?.some(isOther));
  return Object.fromEntries(kept);
}

function merged({ merge }: Key, name: KeyName, sources: readonly Source[]): unknown {
  const all = sources.map(({ values }) => values[name]);
  if (merge === 'each') return Object.assign({}, ...all) as unknown;
  if (merge === 'append') return [...new Set(all.flat())];
  return all.at(-1);
}

/** @param values what holds, by options too */
function rowsOf(name: KeyName, sources: readonly Source[], values: Values): Row[] {
  const key = KEYS[name];
  const found = sources.filter((source) => source.values[name] !== undefined);
  const last = found.at(-1);
  if (!last) {
    const { fallback } = key;
    const value = typeof fallback === 'function' ? (fallback as (values: Values) => unknown)(values) : fallback;
    return [{ key: name, value, from: 'default' }];
  }
  if (key.merge === 'each')
    return found.flatMap((source, at) =>
      Object.entries(source.values[name] as Readonly<Record<string, unknown>>)
        .filter(([part]) => !found.slice(at + 1).some(({ values }) => Object.hasOwn(values[name] as object, part)))
        .map(([part, value]) => ({ key: `${name}.${part}`, value, from: from(source, key) })),
    );
  const contributors = key.merge === 'append' ? found : [last];
  return [
    { key: name, value: merged(key, name, found), from: contributors.map((source) => from(source, key)).join(', ') },
  ];
}

/** The name of a source for one key: the variable, or the option. */
function from({ name }: Source, { variable, option }: Key): string {
  if (name === 'environment') return variable ?? name;
  if (name === 'option') return option === 'app' ? 'operand' : `--${option ?? ''}`;
  return name;
}

function deepFrozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const item of Object.values(value)) deepFrozen(item);
  return Object.freeze(value);
}
