import { join } from 'node:path';
import { readFileSync, writeFileSync } from 'node:fs';
import { build, Cache } from '@nodeos/engine';
import { describe, expect, it } from 'vitest';
import { additionsPart } from '../additions.js';
import { appFiles, readApplication } from '../index.js';
import { folder, root, target } from './support.js';

const cache = new Cache(join(root, 'settings-cache'));
const quiet = { event: () => undefined, close: () => Promise.resolve() };

async function pathsOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  const part = await additionsPart(target, files);
  const built = await build([part.artifact.step], { cache, progress: quiet, jobs: 1 });
  const paths: string[] = [];
  for await (const { path, type, mode, uid } of await part.tree(built.path(part.artifact)))
    paths.push(`${type} ${path} ${mode.toString(8)} ${uid}`);
  return paths;
}

describe('files of a configuration', () => {
  it('are at their places, with the folders above them, and belong to root', async () => {
    const dir = folder({ 'greeting.txt': 'hi', 'www/a/index.html': '<p>' });
    expect(await pathsOf({ '/srv/www': join(dir, 'www'), '/etc/greeting': join(dir, 'greeting.txt') })).toEqual([
      ...['directory etc 755 0', 'file etc/greeting 644 0', 'directory srv 755 0', 'directory srv/www 755 0'],
      ...['directory srv/www/a 755 0', 'file srv/www/a/index.html 644 0'],
    ]);
  });

  it('have a key of their contents and places, not of their paths here', async () => {
    const [one, same, other] = [folder({ x: 'a' }), folder({ y: 'a' }), folder({ x: 'b' })];
    const keyAt = async (place: string, source: string): Promise<string> => {
      const { artifact } = await additionsPart(target, { [place]: source });
      const { steps } = await build([artifact.step], { cache, progress: quiet, jobs: 1 });
      return steps[0]?.key ?? '';
    };
    const keys = [
      await keyAt('/srv/x', join(one, 'x')),
      await keyAt('/srv/x', join(same, 'y')),
      await keyAt('/srv/x', join(other, 'x')),
      await keyAt('/srv/y', join(one, 'x')),
    ];
    expect(keys[0]).toBe(keys[1]);
    expect(new Set(keys).size).toBe(3);
  });

  it('are refused if they are not there, or one is within another', async () => {
    const dir = folder({ x: '' });
    await expect(additionsPart(target, { '/srv/x': join(dir, 'y') })).rejects.toThrow(
      `${join(dir, 'y')}, which is not there`,
    );
    const nested = { '/srv': dir, '/srv/x': join(dir, 'x') };
    await expect(additionsPart(target, nested)).rejects.toThrow('/srv/x is below /srv');
    await expect(additionsPart(target, { '/srv/x': '/dev/null' })).rejects.toThrow('neither a file nor a folder');
  });
});

describe('settings', () => {
  const dir = folder({
    'package.json': { name: 'web', nodeos: { user: 'root', hostname: 'unchecked', files: { '/srv/x': 'x' } } },
    'index.js': '',
  });
  const written = async (settings?: object): Promise<Record<string, unknown>> => {
    const app = await readApplication(dir, target, settings ? { settings } : {});
    const step = appFiles(target, app, undefined, 'musl');
    const built = await build([step], { cache, progress: quiet, jobs: 1 });
    return JSON.parse(readFileSync(join(built.outputOf(step), 'nodeos.json'), 'utf8')) as Record<string, unknown>;
  };

  it('of a configuration replace those of package.json, and reach the init', async () => {
    const machine = { hostname: 'box', network: 'off', timeServers: ['192.0.2.1'] } as const;
    expect(await written({ restart: 'always', ...machine })).toMatchObject({
      user: 'app',
      restart: 'always',
      ...machine,
    });
  });

  it('of package.json alone are those that this package checks', async () => {
    const found = await written();
    expect(found).toMatchObject({ user: 'root' });
    expect(Object.keys(found)).not.toContain('hostname');
    expect((await readApplication(dir, target)).manifest.nodeos).toEqual({ user: 'root' });
  });

  it('that name added files say nothing of their paths here in the key of the application', async () => {
    writeFileSync(join(dir, 'x'), '');
    const step = async (source: string): Promise<unknown> =>
      appFiles(
        target,
        await readApplication(dir, target, { settings: { files: { '/srv/x': source } } }),
        undefined,
        'musl',
      ).parameters;
    expect(await step(join(dir, 'x'))).toEqual(await step('/elsewhere/x'));
  });
});
