import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readPins } from '../pins.js';
import { packagePlaceOf } from '../places/index.js';
import { pins, repository, ROOT } from './helpers.js';

const SUM = 'a'.repeat(64);
const source = (name: string, sum: string, key = 'sha256'): string =>
  `{ name: '${name}', version: '1', places: [{ url: 'https://example.org/${name}', ${key}: '${sum}' }] }`;

describe('the pins of this repository', () => {
  it('are found by their names, with a place that can be queried, unless they are moved by hand', async () => {
    const found = await readPins(ROOT);
    const ids = found.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(
      expect.arrayContaining(['linux', 'gcc', 'binutils', 'musl', 'musl-fixes', 'mbedtls', 'mimalloc']),
    );
    expect(ids.filter((id) => id.startsWith('libc6'))).not.toEqual([]);
    expect(found.filter(({ source }) => !packagePlaceOf(source)).map(({ id }) => id)).toEqual(['node-musl']);
  });

  it('are in files called sources.ts only', () => {
    const stray = filesBelow(ROOT).filter((path) => {
      if (!/\.(ts|js)$/.test(path) || /(^|\/)sources\.ts$|(^|\/)test\/[^/]*\.test\.ts$/.test(path)) return false;
      return /['"`]([0-9a-f]{64}|[0-9a-f]{128})['"`]|debianPlaces\(\s*\{/.test(readFileSync(join(ROOT, path), 'utf8'));
    });
    expect(stray).toEqual([]);
  });
});

describe('readPins', () => {
  it('looks into tables, and adds keys to pins with the same name', async () => {
    const text = `
      const shared = ${source('lib', SUM)};
      export const TABLE = { x86_64: ${source('node', SUM)}, aarch64: ${source('node', 'b'.repeat(128), 'sha512')} };
      export const LIST = [shared];
      export const ALIAS = shared;
      export function make() { return undefined; }`;
    const found = await readPins(repository({ 'kernel/sources.ts': text }));
    expect(found.map(({ id }) => id)).toEqual(['node:x86_64', 'node:aarch64', 'lib']);
    expect(found[1]).toMatchObject({ file: 'kernel/sources.ts', path: ['TABLE', 'aarch64'] });
  });

  it.each([
    [
      'a checksum that no exported source has',
      `const hidden = ${source('x', SUM)}; export const y = 1;`,
      'is in no source',
    ],
    ['an import of something else', `import fs from 'node:fs'; export const x = fs;`, 'it imports node:fs'],
    ['code that fails', `export const x = (undefined as any).y;`, 'cannot read the pins in kernel/sources.ts'],
    ['code that cannot be parsed', `export const = ;`, 'cannot read the pins in kernel/sources.ts'],
  ])('refuses %s', async (_, text, message) => {
    const { status, stderr } = await pins(repository({ 'kernel/sources.ts': text }), 'check');
    expect(status).toBe(1);
    expect(stderr).toContain(message);
  });
});

describe('the command line', () => {
  it.each([
    [['--wat'], "Unknown option '--wat'"],
    [['look'], 'unknown action "look"'],
    [['check', '--dry-run'], '--dry-run is not for check'],
    [['update', '--record'], '--record is not for update'],
  ])('%j is a usage error', async (args, message) => {
    const { status, stdout, stderr } = await pins(ROOT, ...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).toContain('--help');
  });

  it('names the pins when one is unknown', async () => {
    const { status, stderr } = await pins(ROOT, 'update', 'linus');
    expect(status).toBe(1);
    expect(stderr).toMatch(/no pin is called "linus"\n.*linux/);
  });

  it('has help with examples', async () => {
    expect(await pins(ROOT, '--help')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/Examples:[\s\S]*--record/),
    });
    expect((await pins(ROOT)).status).toBe(2);
  });
});

function filesBelow(root: string, dir = ''): string[] {
  return readdirSync(join(root, dir), { withFileTypes: true }).flatMap((entry) => {
    const path = dir === '' ? entry.name : `${dir}/${entry.name}`;
    if (!entry.isDirectory()) return [path];
    return /^(node_modules|dist|out|\..*)$/.test(entry.name) ? [] : filesBelow(root, path);
  });
}
