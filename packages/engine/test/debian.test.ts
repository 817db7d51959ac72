import { existsSync } from 'node:fs';
import { readdir, readFile, rm, utimes } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { libraries } from '../../runtime/sources.js';
import { Cache } from '../cache.js';
import { fetchSource } from '../fetch.js';
import { hostSources, parseMirrors, privateApt, sourcesList } from '../places/debian.js';
import type { NodeosError } from '@nodeos/base';
import { targetOf } from '@nodeos/targets';
import { serve, tempDir } from './helpers.js';

describe('parseMirrors', () => {
  it('reads one-line sources', () => {
    const list = `# deb http://commented/debian bookworm main
deb http://mirror/debian bookworm main contrib
deb [arch=amd64 signed-by=/usr/share/key.gpg] https://mirror/debian-security/ bookworm-security main
deb-src http://sources/debian bookworm main
deb http://vendor/apt stable main
deb
http://nothing/debian bookworm
`;
    expect(parseMirrors([list])).toEqual([
      { uri: 'http://mirror/debian', suites: ['bookworm'] },
      { uri: 'https://mirror/debian-security/', suites: ['bookworm-security'] },
    ]);
  });

  it('reads deb822 sources: comments, continued fields, several URIs, disabled stanzas', () => {
    const sources = `Types: deb deb-src
# http://commented/debian
URIs: http://one/debian
 http://two/debian
Suites: bookworm
# between
 bookworm-updates
Components: main

Types: deb
URIs: http://off/debian
Suites: bookworm
Enabled: no

Enabled: false
Types: deb
URIs: http://off/debian
Suites: bookworm

Types: deb-src
URIs: http://sources/debian
Suites: bookworm

Types: deb
URIs:
Suites: bookworm
`;
    const mirrors = ['http://one/debian', 'http://two/debian'].map((uri) => ({
      uri,
      suites: ['bookworm', 'bookworm-updates'],
    }));
    expect(parseMirrors([sources])).toEqual(mirrors);
    expect(parseMirrors([sources.replaceAll('\n', '\r\n')])).toEqual(mirrors);
  });

  it('never throws and returns only Debian mirrors', () => {
    const words = [
      'deb',
      'Types:',
      'URIs:',
      'Suites:',
      'http://a/debian',
      '[',
      ']',
      ' ',
      '\n',
      '\t',
      '#',
      'Enabled: no',
    ];
    const text = fc.array(fc.oneof(fc.constantFrom(...words), fc.string())).map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.array(text), (contents) => {
        for (const { uri } of parseMirrors(contents)) expect(uri).toMatch(/\/debian(-security)?\/?$/);
      }),
    );
  });
});

describe('sourcesList', () => {
  it('lists the wanted suite with the pockets of the host, binary and source, each once', () => {
    const mirrors = [
      { uri: 'http://m/debian', suites: ['bookworm', 'bookworm-updates', 'bookworm-backports'] },
      { uri: 'http://m/debian', suites: ['bookworm'] },
      { uri: 'http://m/debian-security', suites: ['bookworm-security'] },
    ];
    const lines = [
      ['http://m/debian', 'trixie'],
      ['http://m/debian', 'trixie-updates'],
      ['http://m/debian-security', 'trixie-security'],
    ].flatMap(([uri, suite]) => ['deb', 'deb-src'].map((type) => `${type} [trusted=yes] ${uri} ${suite} main\n`));
    expect(sourcesList(mirrors, 'trixie')).toBe(lines.join(''));
  });
});

describe('signed lists', () => {
  it(
    'are accepted only with the signature of the archive, even if older lists exist',
    { timeout: 120_000 },
    async (context) => {
      if (!existsSync('/usr/share/keyrings/debian-archive-keyring.gpg')) context.skip('the host has no keys of Debian');
      const mirror = parseMirrors(await hostSources()).find(({ uri }) => /\/debian\/?$/.test(uri));
      if (!mirror) return context.skip('the host has no Debian mirror in /etc/apt');
      let forge = false;
      const pass = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
        const answer = await fetch(mirror.uri.replace(/\/?$/, request.url?.replace('/debian', '') ?? ''));
        const bytes = Buffer.from(await answer.arrayBuffer());
        const forged = Buffer.from(bytes.toString('latin1').replace('Origin: Debian', 'Origin: Nobody'), 'latin1');
        response.writeHead(answer.status).end(forge ? forged : bytes);
      };
      const server = await serve((request, response) => void pass(request, response));
      const home = tempDir();
      const archive = { suite: 'trixie', mirrors: [{ uri: `${server.url}/debian`, suites: ['any-updates'] }] };
      const progress = (): void => undefined;
      const open = (signed: boolean) => privateApt({ ...archive, signed }, { home, signal: context.signal, progress });
      const genuine = await open(true);
      await genuine.refresh();
      expect(await genuine.run('apt-cache', ['pkgnames'])).not.toBe('');

      forge = true;
      await rm(join(home, 'apt'), { recursive: true });
      await expect((await open(true)).refresh()).rejects.toThrow('apt-get');
      await expect((await open(false)).refresh()).resolves.toBeUndefined();

      forge = false;
      await rm(join(home, 'apt'), { recursive: true });
      const believed = await open(true);
      await believed.refresh();
      forge = true;
      await expire(home);
      await expect(believed.refresh()).rejects.toThrow('apt-get');
    },
  );
});

/** Makes the lists look too old. */
async function expire(home: string): Promise<void> {
  for (const name of await readdir(join(home, 'apt'))) await utimes(join(home, 'apt', name, 'updated'), 1, 1);
}

describe('a Debian package', () => {
  it('is fetched with the apt of the host', { timeout: 300_000, retry: 2 }, async (context) => {
    if (!existsSync('/usr/lib/apt/apt-helper')) context.skip('the host has no apt');
    if (parseMirrors(await hostSources()).length === 0) context.skip('the host has no Debian mirror in /etc/apt');
    const before = await hostSources();
    const cache = new Cache(tempDir());
    for (const target of ['x86_64', 'aarch64']) {
      const library = libraries(targetOf(target))['libatomic1'];
      if (!library) throw new Error('the pin is gone');
      const source = { ...library, places: library.places.filter((place) => 'debian' in place) };
      const said: string[] = [];
      const options = { signal: context.signal, progress: (line: string) => void said.push(line) };
      const path = await fetchSource(cache, source, options);
      expect((await readFile(path)).subarray(0, 8).toString()).toBe('!<arch>\n');
      expect(said).toContain('reading the package lists of trixie');
    }
    expect(await hostSources()).toEqual(before);
  });

  it('that the mirrors do not have names the version that they have', { timeout: 300_000 }, async (context) => {
    if (!existsSync('/usr/lib/apt/apt-helper')) context.skip('the host has no apt');
    const mirrors = parseMirrors(await hostSources());
    if (mirrors.length === 0) context.skip('the host has no Debian mirror in /etc/apt');
    const gone = { package: 'libatomic1', version: '0.1-1', suite: 'trixie' };
    const source = { name: 'gone', version: '0.1', places: [{ debian: gone, sha256: '0'.repeat(64) }] };
    const options = { signal: context.signal, progress: () => undefined };
    const error: unknown = await fetchSource(new Cache(tempDir()), source, options).catch((e: unknown) => e);
    const [line] = (error as NodeosError).lines;
    expect(line).toMatch(/^Debian trixie, package libatomic1 0\.1-1: the mirrors of \/etc\/apt have 14\S+ instead/);
    const hasSecurity = mirrors.some(({ suites }) => suites.some((suite) => suite.endsWith('-security')));
    expect(line?.includes('none of them is for trixie-security')).toBe(!hasSecurity);
  });
});
