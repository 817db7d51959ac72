import { chmod, cp, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, hashPath } from '../hash.js';
import { difference, ingredientsOf, keyOf, recipeOf } from '../key.js';
import type { Step } from '../step.js';
import { stepOf, target, tempDir } from './helpers.js';

const nothing = (): Promise<void> => Promise.resolve();
const keyOfStep = async (step: Step, inputs: Record<string, string> = {}): Promise<string> =>
  keyOf(await ingredientsOf(step, inputs));

/** A package with a recipe that imports a module and a library. */
async function recipePackage(dir: string): Promise<string> {
  await mkdir(join(dir, 'lib'), { recursive: true });
  await mkdir(join(dir, 'node_modules', 'library'), { recursive: true });
  await writeFile(join(dir, 'package.json'), '{"name": "layer", "version": "1.0.0", "type": "module"}');
  await writeFile(join(dir, 'build.js'), `import './lib/part.js';\nimport 'node:fs';\nimport 'library';\n`);
  await writeFile(join(dir, 'lib', 'part.js'), `export { build } from '../build.js';\n`);
  await writeFile(
    join(dir, 'node_modules', 'library', 'package.json'),
    '{"name": "library", "version": "2.0.0", "main": "index.js"}',
  );
  await writeFile(join(dir, 'node_modules', 'library', 'index.js'), '');
  return pathToFileURL(join(dir, 'build.js')).href;
}

async function sourceTree(dir: string): Promise<string> {
  await mkdir(join(dir, 'sub'), { recursive: true });
  await writeFile(join(dir, 'a'), 'a');
  await writeFile(join(dir, 'sub', 'b'), 'b');
  await symlink('a', join(dir, 'link'));
  return dir;
}

describe('the key of a step', () => {
  const base = stepOf('base', nothing, { parameters: { size: 1 } });

  it('changes with the name, the target and the parameters', async () => {
    const variants: Step[] = [
      base,
      { ...base, name: 'other' },
      { ...base, target: { ...target, name: 'other' } },
      { ...base, target: { ...target, triplet: 'x86_64-linux-musl' } },
      { ...base, parameters: { size: 2 } },
      { ...base, parameters: { length: 1 } },
      { ...base, parameters: { size: 1, more: null } },
      { ...base, target: { ...target, cross: { ...target.cross, gcc: ['--with-arch=x86-64-v3'] } } },
      stepOf('base', nothing),
    ];
    const keys = await Promise.all(variants.map((step) => keyOfStep(step)));
    expect(new Set(keys).size).toBe(variants.length);
  });

  it('does not change with the order of parameters', async () => {
    expect(await keyOfStep({ ...base, parameters: { b: { y: 1, x: [2] }, a: 0 } })).toBe(
      await keyOfStep({ ...base, parameters: { a: 0, b: { x: [2], y: 1 } } }),
    );
  });

  it('changes with the checksums of the sources but not with their places', async () => {
    const source = (digest: string, from: string, version = '1'): Step => ({
      ...base,
      sources: { code: { name: 'code', version, places: [{ url: from, sha256: digest }] } },
    });
    const key = await keyOfStep(source('aa', 'http://one/'));
    expect(await keyOfStep(source('bb', 'http://one/'))).not.toBe(key);
    expect(await keyOfStep(source('aa', 'http://one/', '2'))).not.toBe(key);
    expect(await keyOfStep(source('aa', 'http://two/'))).toBe(key);
  });

  it('changes with the keys of the inputs and their names', async () => {
    const keys = await Promise.all([{}, { a: '1' }, { a: '2' }, { b: '1' }].map((inputs) => keyOfStep(base, inputs)));
    expect(new Set(keys).size).toBe(4);
  });

  it('changes with the versions of tools; a missing tool is a version too', async () => {
    const tool = join(tempDir(), 'tool');
    const withTool: Step = { ...base, tools: [tool] };
    const missing = await ingredientsOf(withTool, {});
    expect(missing[`tool ${tool}`]).toBe('missing');
    const versioned = join(tempDir(), 'tool');
    await writeFile(versioned, '#!/bin/sh\necho "tool 1.2 $1"\necho more\n', { mode: 0o755 });
    expect(await ingredientsOf({ ...base, tools: [versioned] }, {})).toMatchObject({
      [`tool ${versioned}`]: 'tool 1.2 --version',
    });
    expect(keyOf(missing)).not.toBe(await keyOfStep(base));
  });

  it('cannot be made if a tool does not report its version, and the error names the tool', async () => {
    const tool = join(tempDir(), 'tool');
    await writeFile(tool, '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    await expect(ingredientsOf({ ...base, tools: [tool] }, {})).rejects.toThrow(`${tool} --version failed`);
  });

  it('changes with the content, names and executable bits of files, and the error names a missing file', async () => {
    const dir = tempDir();
    const file = join(dir, 'file');
    await writeFile(file, 'one');
    const tree = await sourceTree(join(dir, 'tree'));
    const step: Step = { ...base, files: { file, tree } };
    const keys = [await keyOfStep(step)];
    const change = async (work: () => Promise<void>): Promise<void> => {
      await work();
      keys.push(await keyOfStep(step));
    };
    await change(() => writeFile(file, 'two'));
    await change(() => chmod(file, 0o755));
    await change(() => writeFile(join(tree, 'sub', 'b'), 'c'));
    await change(() => chmod(join(tree, 'a'), 0o755));
    await change(() => rename(join(tree, 'a'), join(tree, 'z')));
    await change(() => mkdir(join(tree, 'empty')));
    await change(() => rename(join(tree, 'link'), join(tree, 'lonk')));
    expect(new Set(keys).size).toBe(keys.length);
    const gone = { ...base, files: { file: join(dir, 'nowhere') } };
    await expect(ingredientsOf(gone, {})).rejects.toThrow(`base: cannot read its input ${join(dir, 'nowhere')}`);
  });

  it('does not change with the path, times or read permissions of files', async () => {
    const dir = tempDir();
    const tree = await sourceTree(join(dir, 'tree'));
    const before = await hashPath(tree);
    await cp(tree, join(dir, 'copy'), { recursive: true, verbatimSymlinks: true });
    await chmod(join(dir, 'copy', 'a'), 0o600);
    expect(await hashPath(join(dir, 'copy'))).toBe(before);
    await symlink('copy', join(dir, 'alias'));
    expect(await hashPath(join(dir, 'alias'))).toBe(before);
  });

  it('changes with the content of the recipe and its imports, and with the versions of libraries', async () => {
    const dir = tempDir();
    const url = await recipePackage(join(dir, 'one'));
    const moved = await recipePackage(join(dir, 'elsewhere', 'two'));
    const code = await recipeOf([url]);
    expect(Object.keys(code).sort()).toEqual(['recipe layer/build.js', 'recipe layer/lib/part.js', 'recipe library']);
    expect(code['recipe library']).toBe('2.0.0');
    expect(await recipeOf([moved])).toEqual(code);

    await writeFile(join(dir, 'one', 'lib', 'part.js'), `export { build } from '../build.js'; // changed\n`);
    const imported = await recipeOf([url]);
    expect(difference(code, imported)).toEqual([expect.stringMatching(/^recipe layer\/lib\/part.js changed from/)]);
    await writeFile(join(dir, 'one', 'build.js'), `import './lib/part.js';\n`);
    const own = difference(imported, await recipeOf([url]));
    expect(own).toEqual([expect.stringMatching(/^recipe layer\/build.js changed/), 'recipe library is gone']);
  });

  it('is the same without optional packages, and under another published name', async () => {
    const dir = tempDir();
    const url = await recipePackage(join(dir, 'one'));
    const renamed = await recipePackage(join(dir, 'two'));
    const optional = { peerDependenciesMeta: { library: { optional: true } }, optionalDependencies: { gone: '1.0.0' } };
    await writeFile(join(dir, 'one/package.json'), JSON.stringify({ name: 'layer', ...optional }));
    await writeFile(
      join(dir, 'two/package.json'),
      JSON.stringify({ name: '@acme/layer', nodeosPackage: 'layer', ...optional }),
    );
    await rm(join(dir, 'two/node_modules'), { recursive: true });
    for (const folder of ['one', 'two'])
      await writeFile(
        join(dir, folder, 'build.js'),
        `import './lib/part.js';\nimport('library');\nimport('gone/part');\n`,
      );
    const code = await recipeOf([url]);
    expect(Object.keys(code).sort()).toEqual(['recipe layer/build.js', 'recipe layer/lib/part.js']);
    expect(await recipeOf([renamed])).toEqual(code);
  });

  it('covers import-only libraries, skips built-in modules, and the error names a missing module', async () => {
    const dir = tempDir();
    const url = await recipePackage(dir);
    const library = join(dir, 'node_modules', '@scope', 'modern');
    await mkdir(library, { recursive: true });
    const exports = { './part': { import: './part.js' } };
    await writeFile(
      join(library, 'package.json'),
      JSON.stringify({ name: '@scope/modern', version: '3.0.0', exports }),
    );
    await writeFile(join(dir, 'build.js'), `import fs from 'fs';\nawait import('@scope/modern/part');\n`);
    expect(await recipeOf([url])).toMatchObject({ 'recipe @scope/modern': '3.0.0' });
    await writeFile(join(dir, 'build.js'), `import 'unknown-library';\n`);
    await expect(recipeOf([url])).rejects.toThrow('unknown-library');
  });

  it('cannot be made from parameters that have no JSON form', async () => {
    await expect(ingredientsOf({ ...base, parameters: { table: new Map([[1, 2]]) } }, {})).rejects.toThrow(
      'a Map has no JSON form',
    );
    await expect(ingredientsOf({ ...base, parameters: { call: nothing } }, {})).rejects.toThrow('has no JSON form');
  });
});

describe('difference', () => {
  it('reports new, removed and changed ingredients and shortens long values', () => {
    const lines = difference(
      { same: '1', gone: '1', hash: 'a'.repeat(64), long: 'x'.repeat(100) },
      { same: '1', fresh: '1', hash: 'b'.repeat(64), long: 'y'.repeat(100) },
    );
    expect(lines).toEqual([
      'fresh is new',
      'gone is gone',
      `hash changed from ${'a'.repeat(12)} to ${'b'.repeat(12)}`,
      `long changed from ${'x'.repeat(57)}… to ${'y'.repeat(57)}…`,
    ]);
  });
});

describe('canonicalJson', () => {
  const shuffled = (value: unknown): unknown =>
    value === null || typeof value !== 'object'
      ? value
      : Array.isArray(value)
        ? value.map(shuffled)
        : Object.fromEntries(
            Object.entries(value)
              .map(([k, v]): [string, unknown] => [k, shuffled(v)])
              .reverse(),
          );

  it('is JSON of the same value, independent of the order of the keys', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(shuffled(value))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('turns undefined into null', () => {
    expect(canonicalJson(undefined)).toBe('null');
  });
});
