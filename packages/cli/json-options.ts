/** `--json`, in the ways that actions mean it. */
import type { Option } from './command.js';

const json = (help: string) => ({ type: 'boolean', help }) as const satisfies Option;

export const JSON_OPTION = json('JSON instead of text');
export const JSON_OBJECT = json('one JSON object');
export const JSON_LOG = json('the log as JSON lines on standard output');
export const JSON_MESSAGES = json('messages as JSON lines');
export const JSON_PROGRESS = json('progress and result as JSON lines');

/** @param what is in it */
export const jsonObjectOf = (what: string) => json(`one JSON object: ${what}`);

/** @param what has a line of its own */
export const jsonLineForEach = (what: string) => json(`a JSON line for each ${what}`);
