/**
 * Splits a project's `.npmrc`. Settings that decide what npm installs go into the step's key and its folder.
 * Credentials and paths of this machine reach npm only through its environment.
 * https://docs.npmjs.com/cli/configuring-npm/npmrc
 */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parse, stringify } from 'ini';
import { codeOf } from '@nodeos/base';

export interface Npmrc {
  /** The deciding settings, as the content of a file. */
  readonly kept: string;
  /** Environment variables for npm. */
  readonly personal: Readonly<Record<string, string>>;
}

export const NO_NPMRC: Npmrc = { kept: '', personal: {} };

/** Settings of one registry (`//host/:_authToken`), and settings that are secret or belong to a secret. */
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

/** Paths with `${HOME}/…` and `~/…` are left to npm. */
const isRelative = (name: string, value: string | boolean): value is string =>
  typeof value === 'string' && /(^|:)((ca|cert|key)file|cache|prefix)$/.test(name) && /^\.{0,2}[\w/.-]+$/.test(value);
