/** Checks of single values. Each returns the value in one form, or throws a UsageError with source, key and expectation. */
import { isIPv4 } from 'node:net';
import { posix } from 'node:path';
import { inspect } from 'node:util';
import { UsageError, visible } from '@nodeos/base';
import { closestMatch } from 'leven';

/** Where a value stands. */
export interface Place {
  /** The file, or the name of a variable. */
  readonly source: string;
  /** The key, with dots: `network.dns`. Empty for the whole configuration. */
  readonly key: string;
}

export type Check<T = unknown> = (value: unknown, place: Place) => T;

const LONGEST_VALUE = 80;
const LONGEST_TEXT = 4096;
/** The most differences between a key that is meant and the one that is written. */
const MAX_DISTANCE = 3;

/** @throws UsageError always */
export function wrong({ source, key }: Place, value: unknown, expected: string): never {
  const text = inspect(value, {
    depth: 1,
    breakLength: Infinity,
    customInspect: false,
    maxStringLength: LONGEST_VALUE,
  });
  const subject = key === '' ? 'the configuration' : key;
  throw new UsageError(`${source}: ${subject} is ${visible(text, LONGEST_VALUE)}; expected ${expected}`);
}

/** @throws UsageError naming the key, and the closest of those that are known */
export function unknownKey({ source, key }: Place, known: readonly string[]): never {
  const name = visible(key.slice(0, LONGEST_VALUE));
  const prefix = key.includes('.') ? key.slice(0, key.lastIndexOf('.') + 1) : '';
  const closest = closestMatch(key.slice(prefix.length, LONGEST_VALUE), [...known], { maxDistance: MAX_DISTANCE });
  throw new UsageError(`${source}: there is no key ${name}`, {
    hint: closest === undefined ? `the keys are: ${known.join(', ')}` : `did you mean ${prefix}${closest}?`,
  });
}

/** The place of a part of a value. */
export const inside = ({ source, key }: Place, name: string): Place => ({
  source,
  key: key === '' ? name : `${key}.${name}`,
});

/** A plain object, not a list, a promise or the like. */
export const record: Check<Readonly<Record<string, unknown>>> = (value, place) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) wrong(place, value, 'an object');
  if (value instanceof Promise) wrong(place, value, 'an object: await it');
  return value as Readonly<Record<string, unknown>>;
};

/** A line of text that is not empty. */
export const text: Check<string> = (value, place) => {
  if (typeof value !== 'string' || value.trim() === '' || /[\0\n\r]/.test(value)) wrong(place, value, 'a line of text');
  if (value.length > LONGEST_TEXT) wrong(place, value, `at most ${LONGEST_TEXT} characters`);
  return value;
};

/** @param expected what messages say */
export const matching =
  (pattern: RegExp, expected: string): Check<string> =>
  (value, place) =>
    typeof value === 'string' && pattern.test(value) ? value : wrong(place, value, expected);

export const oneOf =
  <Name extends string>(names: readonly Name[]): Check<Name> =>
  (value, place) =>
    names.find((name) => name === value) ?? wrong(place, value, names.join(' or '));

export const integer =
  (least: number, most: number): Check<number> =>
  (value, place) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most
      ? (value as number)
      : wrong(place, value, `a whole number from ${least} to ${most}`);

/** @param most the greatest number of items. Default: any */
export const listOf =
  <T>(check: Check<T>, most = Infinity): Check<readonly T[]> =>
  (value, place) => {
    if (!Array.isArray(value)) wrong(place, value, 'a list');
    if (value.length > most) wrong(place, value, `at most ${most} of them`);
    return Array.from(value, (item: unknown, index) => check(item, { ...place, key: `${place.key}[${index}]` }));
  };

/** @param name checks a name; its place is the value's */
export const recordOf =
  <T>(name: Check<string>, check: Check<T>): Check<Readonly<Record<string, T>>> =>
  (value, place) =>
    Object.fromEntries(
      Object.entries(record(value, place)).map(([key, item]) => [name(key, place), check(item, inside(place, key))]),
    );

/** An object with these keys and no others. @param required those that must be there */
export const objectOf =
  <T>(
    checks: { readonly [Name in keyof Required<T>]: Check<T[Name]> },
    required: readonly (keyof T)[] = [],
  ): Check<T> =>
  (value, place) => {
    const given = record(value, place);
    const names = Object.keys(checks) as (keyof T & string)[];
    for (const key of Object.keys(given)) if (!(names as string[]).includes(key)) unknownKey(inside(place, key), names);
    const missing = required.find((name) => given[name as string] === undefined);
    if (missing !== undefined) wrong(inside(place, String(missing)), undefined, 'a value');
    const present = names.filter((name) => given[name] !== undefined);
    return Object.fromEntries(present.map((name) => [name, checks[name](given[name], inside(place, name))])) as T;
  };

/** @param parse throws a UsageError for what it does not take */
export const parsedBy =
  (parse: (value: string) => unknown, expected: string): Check<string> =>
  (value, place) => {
    const line = text(value, place);
    try {
      parse(line);
    } catch (error) {
      if (error instanceof UsageError) wrong(place, value, expected);
      throw error;
    }
    return line;
  };

export const variableName = matching(/^[^=\0]+$/, 'names of variables without =');

/** The text of a variable may have several lines. */
export const variable: Check<string> = (value, place) =>
  typeof value === 'string' && !value.includes('\0') ? value : wrong(place, value, 'text');

const LABEL = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
/** RFC 1123, section 2.1: one label. */
export const hostName = matching(
  new RegExp(`^${LABEL}$`),
  'a name of letters, digits and hyphens, as "web-1", at most 63',
);
/** A name with dots, or an IPv4 address. */
export const domainName = matching(new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})*$`), 'a name or an address');

/** An address that a machine can have: not "this network", loopback, multicast or broadcast. */
export const machineAddress: Check<string> = (value, place) => {
  const first = typeof value === 'string' && isIPv4(value) ? Number(value.split('.')[0]) : 0;
  if (first === 0 || first === 127 || first >= 224)
    wrong(place, value, 'the IPv4 address of a machine, as 192.168.1.10');
  return value as string;
};

/** An IPv4 address and the length of its prefix. @param least the shortest prefix */
export const addressWithPrefix =
  (least: number): Check<string> =>
  (value, place) => {
    const [, address = '', prefix] = typeof value === 'string' ? (/^([\d.]+)\/(\d{1,2})$/.exec(value) ?? []) : [];
    const isValid = isIPv4(address) && Number(prefix) >= least && Number(prefix) <= 32;
    if (!isValid) wrong(place, value, `an IPv4 address and the length of its prefix, as 192.168.1.10/24`);
    return value as string;
  };

/** Folders that are mounted over or that the system needs as they are. */
const RESERVED: readonly string[] = [
  ...['app', 'bin', 'data', 'dev', 'home', 'init', 'lib', 'lib64', 'proc', 'root', 'run', 'sbin', 'sys', 'tmp', 'usr'],
];
/** Files and folders of the system itself, and those that the init writes. */
const OWN =
  /^\/(etc|var|etc\/(passwd|group|nodeos\.json|mtab|nsswitch\.conf|hosts|hostname|resolv\.conf)|var\/log(\/.*)?)$/;

/** A place for a user's file in the system. */
export const guestPath: Check<string> = (value, place) => {
  const path = typeof value === 'string' && value.startsWith('/') ? value : wrong(place, value, 'an absolute path');
  if (path !== posix.normalize(path) || path.endsWith('/') || /[\0\n]/.test(path))
    wrong(place, value, 'an absolute path without ., .. and a / at its end');
  if (RESERVED.includes(path.split('/')[1] ?? '') || OWN.test(path))
    wrong(place, value, "a place that is not the system's own, as /etc/NAME or /srv/NAME");
  return path;
};
