/** The part of a configuration that becomes a part of the system: the settings of its application. */
import type { Settings } from '@nodeos/app';
import type { Settled } from './settle.js';

/** The settings in the form in which `@nodeos/app` takes them. */
export function applicationSettings({ values }: Pick<Settled, 'values'>): Settings {
  const { start, modules, user, restart, onexit, env, formats, hostname, network, timeServers, files } = values;
  const settings = { start, modules, user, restart, onexit, env, formats, hostname, network, timeServers, files };
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given);
}
