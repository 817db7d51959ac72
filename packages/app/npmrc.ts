/**
 * A project's `.npmrc`: what decides what npm installs, and what is only its user's. The former is in the key of a step
 * and in its folder; credentials and paths of this machine reach npm through its environment, and nothing else.
 * https://docs.npmjs.com/cli/configuring-npm/npmrc
 */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parse, stringify } from 'ini';
import { codeOf } from '@nodeos/base';

export interface Npmrc {
  /** The settings that decide, as a file. */
  readonly kept: string;
  /** Variables for npm. */
  readonly personal: Readonly<Record<string, string>>;
}

export const NO_NPMRC: Npmrc = { kept: '', personal: {} };

/** Settings for one registry (`//host/:_authToken`), and those that have a secret or belong to one. */
const SECRET = /^\/\/|^_|auth|password|token|secret|username|email|^otp$|^key$|^cert$|proxy/i;
/** Settings that name files of this machine. */
const PATH = /^(ca|cert|key)file$|^(cache|prefix|userconfig|globalconfig|logs-dir|tmp|git|shell|script-shell)$/;
const WITH_CREDENTIALS = /^\w+:\/\/[^/@]*@/;

export async function readNpmrc(dir: string): Promise<Npmrc> {
  const text = await readFile(join(dir, '.npmrc'), 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? NO_NPMRC : splitNpmrc(text, dir);
}

export function splitNpmrc(text: string, dir: string): Npmrc {
  const settings = Object.entries(parse(text.replace(/^\uFEFF/, '')));
  const isPersonal = ([name, value]: [string, unknown]): boolean =>
    SECRET.test(name) || PATH.test(name) || (typeof value === 'string' && WITH_CREDENTIALS.test(value));
  const variables = settings
    .filter(isPersonal)
    .filter((setting): setting is [string, string | boolean] => typeof setting[1] !== 'object')
    .map(([name, value]) => [`npm_config_${name}`, isRelative(name, value) ? resolve(dir, value) : String(value)]);
  const kept = settings.filter((setting) => !isPersonal(setting)).sort(([a], [b]) => (a < b ? -1 : 1));
  return { kept: stringify(Object.fromEntries(kept)), personal: Object.fromEntries(variables) as Npmrc['personal'] };
}

/** `${HOME}/…` and `~/…` are npm's to understand. */
const isRelative = (name: string, value: string | boolean): value is string =>
  typeof value === 'string' && /(^|:)((ca|cert|key)file|cache|prefix)$/.test(name) && /^\.{0,2}[\w/.-]+$/.test(value);
