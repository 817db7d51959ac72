/** Where Node.js 22 and newer keep the modules of the command as they have compiled them. Plain JavaScript, because it is needed before anything else is loaded. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** A folder of the user's own: others could write to one in /tmp, and what is in it is run. */
export const compiledFolder = () => join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'nodeos-compiled');
