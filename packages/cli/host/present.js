/** Looks for what a machine has of the table. Nothing is run. */
import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';

/** @typedef {import('./needs.js').Need} Need */
/** @typedef {import('./needs.js').Probe} Probe */

/** @param {string | undefined} path */
const directories = (path) => (path ?? '').split(delimiter).filter(Boolean);

/**
 * An applet of busybox does not count: its tar, xz, find… lack features that a build uses. BusyBox itself does.
 * @param {string} name
 * @param {string[]} alsoIn folders besides those of PATH
 */
export const hasCommand = (name, alsoIn = []) =>
  [...directories(process.env['PATH']), ...alsoIn].some((directory) => {
    try {
      const file = realpathSync(join(directory, name));
      accessSync(file, constants.X_OK);
      return statSync(file).isFile() && (basename(file) !== 'busybox' || name === 'busybox');
    } catch {
      return false;
    }
  });

/** @param {Probe} probe */
export const isMet = ({ commands = [], alsoIn, header, shared }) => {
  // The include folders of gcc.
  const { CPATH, C_INCLUDE_PATH, XDG_DATA_DIRS } = process.env;
  const includes = [CPATH, C_INCLUDE_PATH, '/usr/local/include', '/usr/include'].flatMap(directories);
  const shares = [XDG_DATA_DIRS, '/usr/local/share', '/usr/share'].flatMap(directories);
  return (
    commands.every((name) => hasCommand(name, alsoIn)) &&
    (header === undefined || includes.some((directory) => existsSync(join(directory, header)))) &&
    (shared === undefined || shared.some((path) => shares.some((directory) => existsSync(join(directory, path)))))
  );
};

/** @param {Need[]} needs @param {(probe: Probe) => boolean} has */
export const missing = (needs, has = isMet) => needs.filter(({ probe }) => !has(probe));
