import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { fragmentPaths, lostOptions, optionsOf, readFragments } from '../config.js';

const dir = mkdtempSync(join(tmpdir(), 'nodeos-kernel-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const lost = (fragment: string, dotConfig: string): string[] =>
  lostOptions([{ name: 'x.config', text: fragment }], dotConfig);
const UNKNOWN = 'unknown to this kernel, or not visible';

describe('options that got lost', () => {
  it.each<[string, string, string, string[]]>([
    ['none', 'CONFIG_A=y\n# CONFIG_B is not set\n', '# CONFIG_B is not set\nCONFIG_A=y\nCONFIG_C=y\n', []],
    ['one that is unknown', 'CONFIG_A=y', '', [`x.config: CONFIG_A=y (it became: ${UNKNOWN})`]],
    [
      'one that was turned off',
      'CONFIG_A=y',
      '# CONFIG_A is not set',
      ['x.config: CONFIG_A=y (it became: # CONFIG_A is not set)'],
    ],
    ['one with another value', 'CONFIG_NR=64', 'CONFIG_NR=8', ['x.config: CONFIG_NR=64 (it became: CONFIG_NR=8)']],
    ['a module', 'CONFIG_A=y', 'CONFIG_A=m', ['x.config: CONFIG_A=y (it became: CONFIG_A=m)']],
    [
      'one that should be off and is on',
      '# CONFIG_A is not set',
      'CONFIG_A=y',
      ['x.config: # CONFIG_A is not set (it became: CONFIG_A=y)'],
    ],
    ['off, and not visible', '# CONFIG_A is not set', '', []],
    ['a longer name', 'CONFIG_A=y', 'CONFIG_AB=y', [`x.config: CONFIG_A=y (it became: ${UNKNOWN})`]],
    ['strings', 'CONFIG_S="-a b"', 'CONFIG_S="-a b"', []],
    ['only comments', '# CONFIG_A=y\n# for A', '', []],
  ])('%s', (_, fragment, dotConfig, lines) => {
    expect(lost(fragment, dotConfig)).toEqual(lines);
  });

  it('are listed with their fragments, in order', () => {
    const fragments = [
      { name: 'a.config', text: 'CONFIG_A=y\nCONFIG_OK=y' },
      { name: 'b.config', text: 'CONFIG_B=y' },
    ];
    expect(lostOptions(fragments, 'CONFIG_OK=y').map((line) => line.split(' (')[0])).toEqual([
      'a.config: CONFIG_A=y',
      'b.config: CONFIG_B=y',
    ]);
  });

  it('do not include options that were kept', () => {
    const option = fc.tuple(fc.stringMatching(/^[A-Z0-9_]{1,9}$/), fc.constantFrom('y', 'm', '7', '"x=y"', undefined));
    fc.assert(
      fc.property(fc.uniqueArray(option, { selector: ([name]) => name }), (options) => {
        const lines = options.map(([name, v]) =>
          v === undefined ? `# CONFIG_${name} is not set` : `CONFIG_${name}=${v}`,
        );
        expect(optionsOf(lines.join('\n'))).toEqual(lines);
        expect(lost(lines.join('\n'), [...lines].reverse().join('\n'))).toEqual([]);
        const on = options.filter(([, v]) => v !== undefined);
        expect(lost(lines.join('\n'), '')).toHaveLength(on.length);
      }),
    );
  });
});

describe('fragments', () => {
  it.each(['', 'CONFIG_A=y\n', '\n# What it is for.\n', '#\n', '# \nCONFIG_A=y\n', '#What it is for.\n'])(
    'that begin with %j instead of their purpose are refused',
    async (text) => {
      const path = join(dir, 'bad.config');
      writeFileSync(path, text);
      await expect(readFragments([path])).rejects.toThrow(`${path}: the first line must be a comment`);
    },
  );

  it('are found in the order of their names, without other files', async () => {
    const folder = join(dir, 'folder');
    mkdirSync(folder);
    for (const name of ['b.config', 'a.config', 'README.md', 'c.config.old'])
      writeFileSync(join(folder, name), '# For a test.\n');
    const paths = await fragmentPaths(folder);
    expect(paths).toEqual([join(folder, 'a.config'), join(folder, 'b.config')]);
    expect(await readFragments(paths)).toEqual([
      { name: 'a.config', text: '# For a test.\n' },
      { name: 'b.config', text: '# For a test.\n' },
    ]);
    await expect(readFragments([join(folder, 'missing.config')])).rejects.toThrow('ENOENT');
  });
});

describe.each(['x86', 'arm64'])('the fragments for %s', async (arch) => {
  const folders = ['common', arch].map((name) => fileURLToPath(new URL(`../config/${name}`, import.meta.url)));
  const paths = (await Promise.all(folders.map(fragmentPaths))).flat();
  const fragments = await readFragments(paths);

  it('are there', () => {
    expect(fragments.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['base.config', 'net.config', 'node.config']),
    );
  });

  it.each(fragments.map((fragment) => [fragment.name, fragment] as const))('%s is in order', (_, { text }) => {
    expect(text).toMatch(/^# [A-Z].{10,}\.\n/);
    expect(text.endsWith('\n')).toBe(true);
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(/^(# .+|CONFIG_\w+=(y|-?\d+|0x[0-9a-f]+|"[^"]*"))$/);
      // The target has no module loader, and a commented-out option has no effect.
      expect(line).not.toMatch(/=m$|^# CONFIG_\w+=/);
    }
    const names = optionsOf(text).map((line) => /CONFIG_\w+/.exec(line)?.[0]);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  it('do not contradict each other', () => {
    const set = new Map<string, { line: string; name: string }>();
    const contradictions: string[] = [];
    for (const { name, text } of fragments) {
      for (const line of optionsOf(text)) {
        const option = /CONFIG_\w+/.exec(line)?.[0] ?? '';
        const earlier = set.get(option);
        if (earlier && earlier.line !== line) contradictions.push(`${earlier.name}: ${earlier.line}; ${name}: ${line}`);
        set.set(option, { line, name });
      }
    }
    expect(contradictions).toEqual([]);
  });
});
