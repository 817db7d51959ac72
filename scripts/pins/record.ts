/**
 * When each pin was last known to be the newest. The dates are in a file beside this one and not in the pins, because a
 * change of those builds again what is made of them; and it is not the age of the version, because what nobody has
 * replaced yet is not out of date: such a warning could not be cured.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf, NodeosError, replaceFile } from '@nodeos/base';
import type { Pin } from './pins.js';
import { askedPlace, packageOf } from './places/index.js';

export const RECORD = 'scripts/pins/record.json';
const DAY_MS = 86_400_000;
export const DAYS = 60;

export interface Entry {
  /** Of the pinned package. An entry for another version says nothing. */
  readonly version: string;
  /** The day of its release, if the place says it. */
  readonly released?: string;
  /** The last day on which there was nothing newer. */
  readonly newest: string;
}

/** A version of which it is known today that it is the newest. */
export interface Current {
  readonly id: string;
  readonly version: string;
  readonly released: string | undefined;
}

export function entriesFor(pins: readonly Current[], now: Date): Record<string, Entry> {
  const newest = now.toISOString().slice(0, 10);
  return Object.fromEntries(
    pins.map(({ id, version, released }) => [id, { version, ...(released === undefined ? {} : { released }), newest }]),
  );
}

export type Entries = Readonly<Record<string, Entry>>;

export async function readRecord(root: string): Promise<Entries> {
  let text: string;
  try {
    text = await readFile(join(root, RECORD), 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return {};
    throw error;
  }
  try {
    return Object.assign(Object.create(null) as object, JSON.parse(text) as Entries);
  } catch (error) {
    throw new NodeosError(`${RECORD} is not JSON: ${messageOf(error)}`, { hint: `restore it: git checkout ${RECORD}` });
  }
}

/** Adds entries, and forgets those of pins that are gone. */
export async function writeRecord(root: string, pins: readonly Pin[], entries: Entries): Promise<void> {
  const all = { ...(await readRecord(root)), ...entries };
  const kept = pins.map(({ id }) => id).filter((id) => all[id] !== undefined);
  const text = JSON.stringify(Object.fromEntries(kept.sort().map((id) => [id, all[id]])), null, 2) + '\n';
  await replaceFile(join(root, RECORD), (made) => writeFile(made, text));
}

export const entryOf = (entries: Entries, pin: Pin): Entry | undefined => {
  const place = askedPlace(pin.source);
  const entry = entries[pin.id];
  const version = place && packageOf(place).version;
  const isDay = /^\d{4}-\d\d-\d\d$/.test(entry?.newest ?? '');
  return isDay && entry?.version === version ? entry : undefined;
};

/** One line for each pin of which it is not known that it was the newest in the last 60 days. */
export function warnings(pins: readonly Pin[], entries: Entries, now: Date): string[] {
  return pins.flatMap((pin) => {
    if (askedPlace(pin.source) === undefined) return [];
    const entry = entryOf(entries, pin);
    const days = entry && daysBetween(entry.newest, now);
    if (days !== undefined && days <= DAYS) return [];
    const since = entry ? `was last known to be the newest ${days} days ago` : 'was never known to be the newest';
    return [`the pin ${pin.id} ${since} (${pin.file}); npm run pins update looks again`];
  });
}

export const daysBetween = (day: string, now: Date): number => Math.floor((now.getTime() - Date.parse(day)) / DAY_MS);
