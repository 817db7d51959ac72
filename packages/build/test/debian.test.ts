import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { libraries } from '../../runtime/sources.js';
import { Cache } from '../cache.js';
import { fetchSource } from '../fetch.js';
import { targetOf } from '../target.js';
import { hostSources, parseMirrors, sourcesList } from '../places/debian.js';
import { tempDir } from './helpers.js';

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

  it('reads deb822 sources: comments, continued fields, several URIs, what is switched off', () => {
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

  it('never throws, and only gives Debian mirrors', () => {
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
  it('has the wanted suite with the pockets of the host, binary and source, each once', () => {
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
});
