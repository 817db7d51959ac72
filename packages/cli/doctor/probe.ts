/** Looks for programs, headers and shared files, as bin/install-dependencies does. */
import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import type { Io } from '../command.js';
import type { Probe } from './host-packages.js';

const folders = (text: string | undefined): string[] => (text ?? '').split(delimiter).filter(Boolean);

/** @returns whether all that the probe names is there */
export function isMet({ commands = [], alsoIn = [], header, shared }: Probe, env: Io['env']): boolean {
  const includes = [env['CPATH'], env['C_INCLUDE_PATH'], '/usr/local/include', '/usr/include'].flatMap(folders);
  const shares = [env['XDG_DATA_DIRS'], '/usr/local/share', '/usr/share'].flatMap(folders);
  const isIn = (places: readonly string[]) => (file: string) => places.some((place) => existsSync(join(place, file)));
  return (
    commands.every((name) => pathOf(name, [...folders(env['PATH']), ...alsoIn]) !== undefined) &&
    (header === undefined || isIn(includes)(header)) &&
    (shared === undefined || shared.some(isIn(shares)))
  );
}

/** The program's file. An applet of busybox does not count: it lacks features that a build uses. */
function pathOf(name: string, places: readonly string[]): string | undefined {
  return places
    .map((place) => join(place, name))
    .find((path) => {
      try {
        const file = realpathSync(path);
        accessSync(file, constants.X_OK);
        return statSync(file).isFile() && basename(file) !== 'busybox';
      } catch {
        return false;
      }
    });
}
