/** The keys that the user trusts in every project: a file with a key on each line. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { codeOf, messageOf, NodeosError, replaceFile } from '@nodeos/base';
import { checkKeyName } from '@nodeos/engine';
import type { Io } from './command.js';

/** https://specifications.freedesktop.org/basedir-spec/latest/ */
export const userKeysFile = ({ XDG_CONFIG_HOME, HOME }: Io['env']): string =>
  join(XDG_CONFIG_HOME || join(HOME || homedir(), '.config'), 'nodeos/trusted-keys');

/** @throws NodeosError if the file cannot be read, or a line of it is no key */
export async function userKeys(env: Io['env']): Promise<readonly string[]> {
  const file = userKeysFile(env);
  try {
    const lines = (await readFile(file, 'utf8')).split('\n').map((line) => line.replace(/#.*/, '').trim());
    return lines.filter((line) => line !== '').map(checkKeyName);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw new NodeosError(`cannot read the keys in ${file}: ${messageOf(error)}`, { cause: error });
  }
}

/** Adds keys to the file. @returns those that were not in it yet */
export async function trustKeys(keys: readonly string[], env: Io['env']): Promise<readonly string[]> {
  const file = userKeysFile(env);
  const known = await userKeys(env);
  const added = [...new Set(keys.map(checkKeyName))].filter((key) => !known.includes(key));
  if (added.length === 0) return [];
  const before = await readFile(file, 'utf8').catch(() => '');
  const start = before === '' || before.endsWith('\n') ? before : `${before}\n`;
  await mkdir(dirname(file), { recursive: true });
  await replaceFile(file, (path) => writeFile(path, `${start}${added.join('\n')}\n`, { mode: 0o600 }));
  return added;
}
