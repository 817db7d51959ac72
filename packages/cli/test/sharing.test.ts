import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeKeyPair } from '@nodeos/engine';
import { sharingOf, type SharingOptions } from '../sharing.js';
import { trustKeys, userKeys, userKeysFile } from '../user-keys.js';

const [mine, theirs] = [makeKeyPair().publicKey, makeKeyPair().publicKey];
let home = '';
beforeAll(async () => void (home = await mkdtemp(join(tmpdir(), 'nodeos-sharing-'))));
afterAll(() => rm(home, { recursive: true, force: true }));

/** What a command with these options asks, and what it says. */
async function asked(options: SharingOptions, env: Record<string, string> = {}) {
  const lines: string[] = [];
  const stderr = { write: (text: string) => lines.push(text) } as never;
  const sharing = await sharingOf(options, { env: { HOME: home, ...env }, stderr });
  return { trusted: sharing?.trusted, remotes: sharing?.remotes.map(({ name }) => name), said: lines.join('') };
}

describe('the keys that count', () => {
  const remotes = ['/srv/cache'];

  it('are those of options, of the environment and of the user', async () => {
    expect(await asked({ remotes, trusted: [mine] }, { NODEOS_TRUSTED_KEYS: theirs })).toEqual({
      trusted: [mine, theirs],
      remotes,
      said: '',
    });
    expect((await asked({ remotes })).said).toContain('no key is trusted');
  });

  it('a project does not trust for its user: its key counts when the user has trusted it', async () => {
    const options = { remotes, projectKeys: [theirs] };
    const before = await asked(options);
    expect([before.trusted, before.remotes]).toEqual([undefined, undefined]);
    expect(before.said).toContain(
      `the project trusts the key ${theirs}, and you do not yet: nodeos cache trust ${theirs}`,
    );
    expect(await trustKeys([theirs], { HOME: home })).toEqual([theirs]);
    expect(await asked(options)).toEqual({ trusted: [theirs], remotes, said: '' });
  });

  it('are kept in a file of the user, with their comments', async () => {
    const env = { XDG_CONFIG_HOME: join(home, 'config') };
    await trustKeys([mine], env);
    const file = userKeysFile(env);
    await writeFile(file, `# a colleague\n${mine} # until May`);
    expect(await trustKeys([theirs, mine, theirs], env)).toEqual([theirs]);
    expect(await readFile(file, 'utf8')).toBe(`# a colleague\n${mine} # until May\n${theirs}\n`);
    expect(await userKeys(env)).toEqual([mine, theirs]);
    expect((await stat(file)).mode & 0o077).toBe(0);
    await writeFile(file, 'nonsense\n');
    await expect(userKeys(env)).rejects.toThrow(`cannot read the keys in ${file}: nonsense is no public key`);
  });

  it('one that is no key is an error', async () => {
    await expect(asked({ remotes, trusted: ['ed25519:short'] })).rejects.toThrow('ed25519:short is no public key');
    await expect(trustKeys(['x'], { HOME: home })).rejects.toThrow('x is no public key');
  });
});
