/**
 * Records the day on which each pin was last known to be the newest. The dates are in a separate file, because a change
 * to the pins would rebuild everything that is made from them. The warning does not use the age of the version, because
 * an old version that is still the newest is not outdated, and nobody could fix that warning.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf, NodeosError, replaceFile } from '@nodeos/base';
import type { Pin } from './pins.js';
import { packagePlaceOf, packageOf } from './places/index.js';

export const RECORD = 'scripts/pins/record.json';
const DAY_MS = 86_400_000;
export const WARN_AFTER_DAYS = 60;

export interface Entry {
  /** The version of the pinned package. An entry for another version is ignored. */
  readonly version: string;
  /** The day of its release, if the place has it. */
  readonly released?: string;
  /** The last day on which it was known to be the newest. */
  readonly newest: string;
}

/** A version that is known to be the newest, or to have been. */
export interface Current {
  readonly id: string;
  readonly version: string;
  readonly released: string | undefined;
  /** The last day on which it was the newest. Default: today. */
  readonly until?: string | undefined;
}

/** The record's entries for these versions. */
export function entriesFor(pins: readonly Current[], now: Date): Record<string, Entry> {
  const today = now.toISOString().slice(0, 10);
  const entryFor = ({ version, released, until = today }: Current): Entry => ({
    version,
    ...(released === undefined ? {} : { released }),
    newest: until,
  });
  return Object.fromEntries(pins.map((pin) => [pin.id, entryFor(pin)]));
}

export type Entries = Readonly<Record<string, Entry>>;

/** Reads the record; empty if there is none. @throws NodeosError if it is not JSON */
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

/** Adds entries, and removes those of pins that no longer exist. */
export async function writeRecord(root: string, pins: readonly Pin[], entries: Entries): Promise<void> {
  const all = { ...(await readRecord(root)), ...entries };
  const kept = pins.map(({ id }) => id).filter((id) => all[id] !== undefined);
  const text = JSON.stringify(Object.fromEntries(kept.sort().map((id) => [id, all[id]])), null, 2) + '\n';
  await replaceFile(join(root, RECORD), (made) => writeFile(made, text));
}

/** The entry for the pin's current version; undefined if there is none, or if its date is invalid. */
export const entryOf = (entries: Entries, pin: Pin): Entry | undefined => {
  const place = packagePlaceOf(pin.source);
  const entry = entries[pin.id];
  const version = place && packageOf(place).version;
  const isDay = /^\d{4}-\d\d-\d\d$/.test(entry?.newest ?? '');
  return isDay && entry?.version === version ? entry : undefined;
};

/** One line for each pin that was not confirmed as the newest in the last 60 days. */
export function warnings(pins: readonly Pin[], entries: Entries, now: Date): string[] {
  return pins.flatMap((pin) => {
    if (packagePlaceOf(pin.source) === undefined) return [];
    const entry = entryOf(entries, pin);
    const days = entry && daysBetween(entry.newest, now);
    if (days !== undefined && days <= WARN_AFTER_DAYS) return [];
    const since = entry ? `was last known to be the newest ${days} days ago` : 'was never known to be the newest';
    return [`the pin ${pin.id} ${since} (${pin.file}); npm run pins update looks again`];
  });
}

export const daysBetween = (day: string, now: Date): number => Math.floor((now.getTime() - Date.parse(day)) / DAY_MS);
