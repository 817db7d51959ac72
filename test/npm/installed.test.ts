/**
 * Everything is published to a registry on the loopback, and an ordinary user installs it from there into an empty folder.
 * The built outputs come from a remote cache: that of the clone is not theirs.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { packAll, NAMES } from '../../scripts/release/pack.js';
import { freePort, LONG, nodeos, request, start } from '../support.js';
import { MANIFEST, openShop, publish, SERVER, type Shop } from './shop.js';
import type { NpmRegistry } from './registry.js';
import { PATH, withoutCompilers, type User } from './user.js';

const LAYERS = ['kernel', 'runtime', 'usr', 'init', 'initramfs', 'initramfs-stream', 'root', 'tls-handshake'];
const RENAMED = { nodeos: '@acme/os', 'create-nodeos': '@acme/create-nodeos', '@nodeos/': '@acme/nodeos-' };

// npm installs 70 packages in several of them.
vi.setConfig({ testTimeout: 600_000 });

let work = '';
let shop: Shop;
let registry: NpmRegistry;
let user: User;
/** The environment of somebody who has a remote cache, and no compiler. */
let sharing: Record<string, string> = {};
/** The user's project, with nodeos installed. */
let mine = '';
let keyFile = '';
let publisher = '';

/** The keys of all steps, as a command with an empty cache sees them. */
function keysIn(explained: string): Record<string, string> {
  const lines = explained
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { step: string; key: string });
  return Object.fromEntries(lines.map(({ step, key }) => [step, key]));
}

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'nodeos-npm-'));
  shop = await openShop(work);
  ({ registry, user, mine, keyFile, publisher } = shop);
  const programs = await withoutCompilers(join(work, 'bin'));
  sharing = { NODEOS_REMOTE_CACHE: shop.place, NODEOS_TRUSTED_KEYS: shop.publicKey, PATH: programs };
}, LONG);
afterAll(async () => {
  user.leave();
  registry.close();
  await rm(work, { recursive: true, force: true });
});

/** Starts an appliance, and returns what it says to a visitor. */
async function answerOf(
  folder: string,
  env: Record<string, string>,
  ...command: [string, ...string[]]
): Promise<string> {
  const port = await freePort();
  const program = user.start(folder, env, ...command, '--publish', `${port}:80`);
  try {
    return await Promise.race([
      request(`http://127.0.0.1:${port}/`, {}, 300).then((response) => response.text()),
      program.ended.then(({ stdout, stderr }) => Promise.reject(new Error(`it ended: ${stdout}\n${stderr}`))),
    ]);
  } finally {
    program.interrupt();
    await program.ended;
  }
}

describe('an installed nodeos', () => {
  it('boots an application of an ordinary user, who compiles nothing', async () => {
    expect(await answerOf(mine, sharing, 'npx', 'nodeos', 'start', '.')).toMatch(/^hello from v26\./);
    const built = (await readdir(join(user.home, '.cache/nodeos/logs'))).map((name) => name.replace(/-x86_64.*/, ''));
    expect(built.filter((name) => !/^(?:archive-|initramfs|app|usr)/.test(name))).toEqual([]);
  });

  it('has the keys of the clone, so it finds the same outputs', async () => {
    const [here, there] = [join(work, 'empty'), join(user.home, 'empty')];
    const explain = ['build', ...LAYERS, '--format', 'disk,iso', '--explain', '--json'];
    const own = await start(explain, { env: { NODEOS_CACHE: here, PATH } }).ended;
    const installed = await user.run(mine, { NODEOS_CACHE: there }, 'npx', 'nodeos', ...explain);
    expect(keysIn(installed.stdout)).toEqual(keysIn(own.stdout));
    expect(Object.keys(keysIn(own.stdout))).toEqual(
      expect.arrayContaining(['toolchain-gcc', 'kernel', 'init', 'boot-loaders']),
    );
  });

  it('has the same keys under other names', async () => {
    await publish(publisher, await packAll({ into: join(work, 'renamed'), names: RENAMED, version: '7.0.0' }));
    const folder = await user.folder('renamed', { 'package.json': MANIFEST });
    await user.run(folder, {}, 'npm', 'install', '--save-dev', '@acme/os');
    const env = { NODEOS_CACHE: join(user.home, '.cache/nodeos'), PATH: sharing['PATH'] ?? '' };
    const { stdout } = await user.run(
      folder,
      env,
      'npx',
      '@acme/os',
      'build',
      'kernel',
      'init',
      'usr',
      '--explain',
      '--json',
    );
    const own = await start(['build', 'kernel', 'init', 'usr', '--explain', '--json'], { env }).ended;
    expect(keysIn(stdout)).toEqual(keysIn(own.stdout));
    expect(stdout).toContain('"state":"cached"');
    expect(registry.names.filter((name) => name.startsWith('@acme/'))).toHaveLength(
      registry.names.filter((name) => !name.startsWith('@acme/')).length,
    );
  });

  it('needs no installation: npx fetches it', async () => {
    const folder = await user.folder('visitor', { 'package.json': MANIFEST, 'server.js': SERVER });
    expect(await answerOf(folder, sharing, 'npx', '--yes', 'nodeos', 'start', '.')).toMatch(/^hello from v26\./);
    expect(await readdir(folder)).toEqual(['package.json', 'server.js']);
  });

  it('names the packages of this machine that a build lacks, before it begins', async () => {
    const env = { NODEOS_CACHE: join(user.home, 'none'), XDG_DATA_DIRS: '/nowhere' };
    const script = `process.env.PATH = '/nowhere'; await import('nodeos').then(async ({ main }) => {
      const io = { stdout: process.stdout, stderr: process.stderr, stdin: process.stdin, env: {},
        signal: new AbortController().signal, kill: new AbortController().signal };
      process.exitCode = await main(['build', 'kernel'], io); });`;
    await writeFile(join(mine, 'lacking.mjs'), script);
    const { status, stderr } = await user.start(mine, env, 'node', 'lacking.mjs').ended;
    expect(status).toBe(1);
    expect(stderr).toMatch(/this machine lacks what builds .*kernel.*: C compiler \(.*make.*flex.*bc/);
    expect(stderr).toMatch(/install it with: sudo apt-get update && sudo env .* gcc g\+\+ make .*flex.*bison/);
  });
});

describe('npm create nodeos', () => {
  it.each(['js', 'ts'])('--template %s makes an application that boots', async (template) => {
    const parent = await user.folder('created');
    const name = `my-${template}`;
    const made = await user.run(
      parent,
      {},
      'npm',
      'create',
      '--yes',
      'nodeos@latest',
      name,
      '--',
      '--template',
      template,
    );
    expect(made.stdout).toContain('npm start');
    const folder = join(parent, name);
    const names = [
      '.gitignore',
      'README.md',
      `app.${template}`,
      `app.test.${template}`,
      'package.json',
      `server.${template}`,
    ];
    expect(await readdir(folder)).toEqual(expect.arrayContaining(names));
    await user.run(folder, {}, 'npm', 'install');
    if (template === 'js') await user.run(folder, {}, 'npm', 'test');
    else await user.run(folder, {}, 'npm', 'run', 'check');
    expect(await answerOf(folder, sharing, 'npm', 'start', '--')).toMatch(/^Hello from .*Node\.js v26\./);
  });

  it('writes into no folder that has files, and knows its templates', async () => {
    const parent = await user.folder('full', { 'something.txt': '' });
    const create = (...args: string[]) =>
      user.start(parent, {}, 'npm', 'create', '--yes', 'nodeos@latest', ...args).ended;
    expect(await create('.')).toMatchObject({ status: 1, stderr: expect.stringContaining('is not empty') });
    const wrong = await create('new', '--', '--template', 'perl');
    expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining('--template perl: there is js and ts') });
    expect(await readdir(parent)).toEqual(['something.txt']);
  });
});

describe('the registry as a remote cache', () => {
  it('has what one machine publishes for another', async () => {
    const env = { NPM_CONFIG_USERCONFIG: publisher };
    const push = ['cache', 'push', 'npm:@acme/built', 'init', '--only', 'init', '--key', keyFile];
    expect(await start(push, { env }).ended).toMatchObject({ status: 0 });
    const again = { status: 0, stdout: expect.stringContaining('init (x86_64): is there already') };
    expect(await start(push, { env }).ended).toMatchObject(again);
    expect(registry.names).toContain('@acme/built-x86_64-init');

    const trust = {
      NODEOS_TRUSTED_KEYS: sharing['NODEOS_TRUSTED_KEYS'] ?? '',
      NODEOS_CACHE: join(user.home, 'pulled'),
    };
    const pull = ['nodeos', 'cache', 'pull', 'init', '--remote', 'npm:@acme/built'];
    await user.run(mine, trust, 'npx', ...pull);
    const [key = ''] = await readdir(join(trust.NODEOS_CACHE, 'steps/init/x86_64'));
    const { stdout } = await nodeos('build', 'init', '--json');
    const output = /"output":"([^"]+)"/.exec(stdout)?.[1] ?? '';
    const fetched = join(trust.NODEOS_CACHE, 'steps/init/x86_64', key, 'output');
    for (const name of await readdir(output))
      expect(await readFile(join(fetched, name))).toEqual(await readFile(join(output, name)));
  });
});

it('every package of the repository is published under its name', () => {
  expect(registry.names).toEqual(expect.arrayContaining([NAMES['nodeos'], NAMES['create-nodeos']]));
});
