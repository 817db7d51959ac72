/** Generates the contract for C: `contract.h`, written when PID 1 is compiled. */
import { EVENTS } from './events.js';
import { APP_ID, PATHS, PORTS, WORDS } from './names.js';

/** Turns `onExit` and `gave-up` into `ON_EXIT` and `GAVE_UP`. */
const constant = (name: string): string =>
  name
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll('-', '_')
    .toUpperCase();

const defined = (prefix: string, values: Readonly<Record<string, string>>): string[] =>
  Object.entries(values).map(([name, value]) => `#define ${prefix}_${constant(name)} ${JSON.stringify(value)}`);

/** @returns the text of the header file */
export function contractHeader(): string {
  const events = Object.fromEntries(Object.keys(EVENTS).map((name) => [name, name]));
  return [
    '/* Made from packages/contract: names that the host and the guest spell alike. */',
    '#ifndef NODEOS_CONTRACT_H',
    '#define NODEOS_CONTRACT_H',
    ...defined('PORT', PORTS),
    ...defined('WORD', WORDS),
    ...defined('PATH', PATHS),
    ...defined('EVENT', events),
    `#define APP_ID ${APP_ID}`,
    '#endif',
    '',
  ].join('\n');
}
