import { homedir } from 'node:os';
import { join } from 'node:path';

/** The default cache folder: `$NODEOS_CACHE`, else `$XDG_CACHE_HOME/nodeos`, else `~/.cache/nodeos`. */
export function cacheRoot(): string {
  const { NODEOS_CACHE, XDG_CACHE_HOME } = process.env;
  // An empty variable counts as unset (XDG Base Directory Specification), so the cache never lands in the current
  // folder.
  return NODEOS_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'nodeos');
}
