import { DEFAULT_TARGET, targetOf } from '@nodeos/targets';
import { describe, expect, it } from 'vitest';
import { ruleFor } from '../allow.js';
import { lockedPackages, readLock } from '../lock.js';
import { folder } from './support.js';

const target = targetOf(DEFAULT_TARGET);

describe('the lock file', () => {
  it('lists the packages for the target and which of them have install scripts', () => {
    const packages = {
      '': { version: '1.0.0', hasInstallScript: true },
      'node_modules/plain': { version: '1.0.0' },
      'node_modules/@acme/native': { version: '2.0.0', hasInstallScript: true },
      'node_modules/plain/node_modules/native': { version: '3.0.0', hasInstallScript: true },
      'node_modules/tool': { version: '1.0.0', hasInstallScript: true, dev: true },
      'node_modules/fsevents': { version: '2.3.3', hasInstallScript: true, os: ['darwin'] },
      'node_modules/arm': { version: '1.0.0', cpu: ['arm64'] },
      'node_modules/not-windows': { version: '1.0.0', os: ['!win32'] },
    };
    expect(lockedPackages({ packages }, target)).toEqual([
      { name: '@acme/native', version: '2.0.0', path: 'node_modules/@acme/native', hasInstallScript: true },
      { name: 'not-windows', version: '1.0.0', path: 'node_modules/not-windows', hasInstallScript: false },
      { name: 'plain', version: '1.0.0', path: 'node_modules/plain', hasInstallScript: false },
      { name: 'native', version: '3.0.0', path: 'node_modules/plain/node_modules/native', hasInstallScript: true },
    ]);
    expect(lockedPackages({}, target)).toEqual([]);
  });

  it.each<[Record<string, boolean>, boolean | undefined]>([
    [{}, undefined],
    [{ other: true }, undefined],
    [{ '@a/b': true }, true],
    [{ '@a/b@1.2.3': true }, true],
    [{ '@a/b@1.2.4': true }, undefined],
    [{ '@a/b@1.0.0 || 1.2.3': true }, true],
    [{ '@a/b@1.2.3': true, '@a/b': false }, false],
  ])('and allowScripts %j give: %s', (rules, allowed) => {
    expect(ruleFor(rules, { name: '@a/b', version: '1.2.3', resolved: undefined })).toBe(allowed);
  });

  it.each(['../node_modules/x', 'node_modules/../../x', 'node_modules/a/..', '/etc/node_modules/x'])(
    'must not place a package at %s',
    async (place) => {
      const dir = folder({ 'package-lock.json': { packages: { '': {}, [place]: { link: true, resolved: 'x' } } } });
      await expect(readLock(dir)).rejects.toThrow(`"${place}" is no place in node_modules`);
    },
  );
});

describe('a package that is not from a registry', () => {
  const from = (resolved: string): { name: string; version: string; resolved: string } => {
    return { name: 'sqlite', version: '1.0.0', resolved };
  };
  const COMMIT = 'git+ssh://git@host.invalid/x/y.git#0123456789abcdef0123456789abcdef01234567';

  it.each([
    ['https://registry.example.org/sqlite/-/sqlite-1.0.0.tgz', 'sqlite@1.0.0', true],
    ['https://evil.invalid/sqlite-1.0.0.tgz', 'sqlite@1.0.0', undefined],
    ['https://evil.invalid/-/sqlite-1.0.0.tgz', 'sqlite', undefined],
    ['https://evil.invalid/sqlite-1.0.0.tgz', 'https://evil.invalid/sqlite-1.0.0.tgz', true],
    ['file:vendor/sqlite-1.0.0.tgz', 'sqlite@1.0.0', undefined],
    ['file:vendor/sqlite-1.0.0.tgz', 'file:vendor/sqlite-1.0.0.tgz', true],
    [COMMIT, 'sqlite', undefined],
    [COMMIT, COMMIT, true],
    [COMMIT, COMMIT.slice(0, -30), true],
    [COMMIT, COMMIT.replace(/#.*/, ''), true],
    [COMMIT, COMMIT.replace(/#.*/, '#0123'), undefined],
  ])('%s is allowed by %s: %s', (resolved, key, allowed) => {
    expect(ruleFor({ [key]: true }, from(resolved))).toBe(allowed);
  });
});
