/** Native code of applications, compiled for the target during the build and loaded in the guest. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { application, request, freePort, LONG, nodeos, ROOT, start, temporary } from '../support.js';
import { ADDON, stackInGuest } from './addon.js';

describe('native code', { timeout: LONG }, () => {
  it('of an example works: an addon with node-addon-api, and a package without a binary for musl', async () => {
    const port = await freePort();
    const guest = start(['start', join(ROOT, 'examples/native'), '--publish', `${port}:80`]);
    await guest.waitForOutput(/the guest's port 80/);
    expect((await request(`http://127.0.0.1:${port}/?upTo=1`)).status).toBe(400);
    const get = (query: string): Promise<Response> => fetch(`http://127.0.0.1:${port}/?${query}`);
    expect(await (await get('upTo=1000000')).json()).toEqual({ upTo: 1000000, primes: 78498, remembered: false });
    expect(await (await get('upTo=1000000')).json()).toEqual({ upTo: 1000000, primes: 78498, remembered: true });
    const refused = await get('upTo=1');
    expect([refused.status, await refused.text()]).toEqual([400, 'the limit must be from 2 to 100000000\n']);
    guest.child.kill('SIGINT');
    await guest.ended;
  });

  it('gives a thread of an addon the usual stack size', async () => {
    expect(await stackInGuest('--libc', 'musl')).toBe("2000 [ 'deep.node' ]\n");
  });

  it('that does not compile is reported with the output of the compiler', async () => {
    const app = await application({ ...ADDON, 'deep.cc': '#error "not finished"\n' });
    const { status, stderr } = await nodeos('build', 'initramfs-base', '--app', app);
    expect(status).toBe(1);
    expect(stderr).toMatch(/app-addon: npm exec .*node-gyp rebuild.*: exit status/);
    expect(stderr).toMatch(/deep\.cc:1:2: error: #error "not finished"/);
    expect(stderr).toMatch(/\/logs\/app-addon-\S+/);
  });

  it('of a dependency is not read unless package.json allows it', async () => {
    const marker = join(await temporary(), 'ran');
    const from = await application({
      'package.json': JSON.stringify({ name: 'sly', version: '1.0.0', scripts: { install: 'node-gyp rebuild' } }),
      'binding.gyp': `{ "targets": [{ "target_name": "sly", "type": "none", "x": "<!(echo 1 > '${marker}')" }] }`,
    });
    const manifest = { dependencies: { sly: 'file:vendor/sly-1.0.0.tgz' } };
    const app = await application({ 'main.js': '' }, manifest);
    await mkdir(join(app, 'vendor'));
    const npm = (cwd: string, ...args: string[]): Promise<unknown> => promisify(execFile)('npm', args, { cwd });
    await npm(from, 'pack', `--pack-destination=${join(app, 'vendor')}`);
    await npm(app, 'install', '--package-lock-only', '--ignore-scripts');
    await rm(marker, { force: true }); // npm itself has run the script
    const first = await nodeos('build', 'initramfs-base', '--app', app);
    expect(first.status, first.stderr).toBe(0);
    expect(first.stderr).toContain('"allowScripts": {"file:vendor/sly-1.0.0.tgz": true}');
    expect(existsSync(marker)).toBe(false);
    const allowScripts = { 'file:vendor/sly-1.0.0.tgz': true };
    await writeFile(
      join(app, 'package.json'),
      JSON.stringify({ name: 'app', main: 'main.js', ...manifest, allowScripts }),
    );
    const second = await nodeos('build', 'initramfs-base', '--app', app);
    expect(second.status, second.stderr).toBe(0);
    expect(second.stderr).not.toContain('allowScripts');
    expect(existsSync(marker)).toBe(true);
  });

  it('of a dependency is not compiled if package.json refuses it', async () => {
    const from = (name: string): Promise<string> => readFile(join(ROOT, 'examples/native', name), 'utf8');
    const manifest = JSON.parse(await from('package.json')) as object;
    const app = await application({
      'package.json': JSON.stringify({ ...manifest, allowScripts: { 'better-sqlite3': false } }),
      'package-lock.json': await from('package-lock.json'),
      'server.js': '',
    });
    const { status, stdout, stderr } = await nodeos('build', 'initramfs-base', '--app', app);
    expect(status, stderr).toBe(0);
    const archive = join(stdout.trim().replace(/^\S+: /, ''), 'initramfs-base');
    const list = (
      await promisify(execFile)('bash', ['-c', `while cpio -it --quiet 2>/dev/null; do :; done < '${archive}'`])
    ).stdout;
    expect(list).toContain('app/node_modules/better-sqlite3/lib/database.js');
    expect(list).not.toContain('better_sqlite3.node');
  });
});
