/** Finds the pins: every `Source` that a `sources.ts` of this repository exports, directly or in a table. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeosError } from '@nodeos/base';
import { type Source } from '@nodeos/engine';
import { exportsOf } from './evaluate.js';

export interface Pin {
  /** The name for the user: the source's name, with the table's key if there are several, such as `libc6:x86_64`. */
  readonly id: string;
  /** The file that exports it, relative to the repository. */
  readonly file: string;
  /** The keys that lead to it from the file's exports. */
  readonly path: readonly string[];
  readonly source: Source;
  /** The version of the object that contains the source, if that object has one too. */
  readonly outerVersion: string | undefined;
}

/** @throws NodeosError if a file cannot be run, or has a checksum that is in none of its exported sources */
export async function readPins(root: string): Promise<Pin[]> {
  const found: Omit<Pin, 'id'>[] = [];
  for (const file of await sourcesFiles(root)) {
    found.push(...pinsIn(await readFile(join(root, file), 'utf8'), file));
  }
  return found.map((pin) => ({ ...pin, id: idOf(pin, found) }));
}

/** If several pins share a name, adds the parts of their paths that differ, as in `libc6:x86_64`. */
function idOf(pin: Omit<Pin, 'id'>, all: readonly Omit<Pin, 'id'>[]): string {
  const namesakes = all.filter(({ source }) => source.name === pin.source.name);
  const own = pin.path.filter((part, i) => namesakes.some(({ path }) => path[i] !== part));
  return [pin.source.name, ...own].join(':');
}

/** The pins in the text of a sources file. @throws NodeosError as `readPins` */
export function pinsIn(text: string, file: string): Omit<Pin, 'id'>[] {
  const pins = new Map<Source, Omit<Pin, 'id'>>();
  const visit = (value: unknown, path: readonly string[], outerVersion?: string): void => {
    if (typeof value !== 'object' || value === null) return;
    if (isSource(value)) {
      if (!pins.has(value)) pins.set(value, { file, path, source: value, outerVersion });
    } else {
      const { version } = value as { version?: unknown };
      const own = typeof version === 'string' ? version : undefined;
      for (const [key, item] of Object.entries(value)) visit(item, [...path, key], own);
    }
  };
  visit(exportsOf(text, file), []);
  const known = new Set([...pins.keys()].flatMap(({ places }) => places.map((place) => JSON.stringify(place))));
  const all = [...known].join();
  const stray = [...text.matchAll(/['"`]([0-9a-f]{64}|[0-9a-f]{128})['"`]/g)].find(
    ([, sum]) => !all.includes(sum ?? ''),
  );
  if (stray) throw new NodeosError(`${file}: the checksum ${stray[0]} is in no source that the file exports`);
  return [...pins.values()];
}

function isSource(value: object): value is Source {
  const { name, version, places } = value as Partial<Source>;
  return typeof name === 'string' && typeof version === 'string' && Array.isArray(places);
}

/** The `sources.ts` of each workspace, of each folder in one, and of each folder of tests, if it exists. */
async function sourcesFiles(root: string): Promise<string[]> {
  const { workspaces } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { workspaces: string[] };
  const folders: string[] = [];
  for (const pattern of [...workspaces, 'test/*']) {
    if (!pattern.endsWith('/*')) folders.push(pattern);
    else folders.push(...(await readdir(join(root, pattern.slice(0, -2)))).map((name) => pattern.replace('*', name)));
  }
  const inner = await Promise.all(folders.map((folder) => foldersIn(root, folder)));
  return [...folders, ...inner.flat()]
    .map((folder) => `${folder}/sources.ts`)
    .filter((file) => existsSync(join(root, file)))
    .sort();
}

async function foldersIn(root: string, folder: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
  const own = entries.filter((entry) => entry.isDirectory() && !['dist', 'node_modules'].includes(entry.name));
  return own.map(({ name }) => `${folder}/${name}`);
}

/** The pins with the given names, or all of them without names. @throws NodeosError for a name that no pin has */
export function selectPins(pins: readonly Pin[], names: readonly string[]): Pin[] {
  const matches = (pin: Pin, name: string): boolean => name === pin.id || name === pin.source.name;
  const unknown = names.find((name) => !pins.some((pin) => matches(pin, name)));
  if (unknown !== undefined) {
    throw new NodeosError(`no pin is called "${unknown}"`, {
      hint: `the pins are ${pins.map(({ id }) => id).join(', ')}`,
    });
  }
  return names.length === 0 ? [...pins] : pins.filter((pin) => names.some((name) => matches(pin, name)));
}
