import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { application, cacheWith, nodeos, ROOT, start, temporary } from '../support.js';

describe('help', () => {
  it('lists the commands, with status 2 without a command and status 0 with --help', async () => {
    const without = await nodeos();
    const asked = await nodeos('--help');
    expect([without.status, asked.status]).toEqual([2, 0]);
    for (const verb of [
      'start',
      'dev',
      'build',
      'config',
      'init',
      'cache',
      'clean',
      'nbd',
      'store',
      'doctor',
      'completion',
    ])
      expect(asked.stdout).toMatch(new RegExp(`^ {2}${verb} `, 'm'));
  });

  it.each(['start', 'dev', 'build', 'config', 'init', 'toolchain', 'clean', 'doctor'])(
    '%s --help shows options and examples',
    async (verb) => {
      const { status, stdout } = await nodeos(verb, '--help');
      expect(status).toBe(0);
      expect(stdout).toContain('Options:');
      expect(stdout).toContain(`Examples:\n  nodeos ${verb}`);
    },
  );
});

describe('wrong usage gives status 2, a cause and a remedy', () => {
  it.each([
    [['fly'], 'unknown command "fly"', 'the commands are: start, dev, build'],
    [['build', '--target', 'vax'], 'unknown target "vax"', 'the targets are: x86_64, aarch64, i686, armv7, riscv64'],
    [['build', 'attic'], 'unknown layer "attic"', 'kernel, runtime, usr, init, initramfs, initramfs-base'],
    [['build', '--format', 'floppy'], 'unknown format "floppy"', 'qcow2, vmdk, vhd, tar, oci, pxe'],
    [['start', '--format', 'tar'], '--format tar: expected disk, iso, usb', ''],
    [['build', '--frobnicate'], '--frobnicate', 'nodeos build --help'],
    [['build', '--jobs', 'many'], '--jobs many: expected a number of at least 1', ''],
    [['start', '--memory', 'lots'], '--memory lots: expected a size such as 256M', ''],
    [['start', '--machine', 'pdp11'], 'x86_64 has no machine "pdp11"', 'q35, microvm'],
    [['start', '--root', 'nfs'], '--root nfs: expected nbd', ''],
    [['start', '--persist', 'file'], '--persist: only with --root nbd', ''],
    [['start', '--trace', 'file'], '--trace: only with --root nbd', ''],
    [['start', '--runtime', 'root'], '--runtime root: expected disk or initramfs', ''],
    [['start', '--root', 'nbd', '--runtime', 'initramfs'], 'expected disk or root with --root nbd', ''],
    [['start', '--root', 'nbd', '--no-network'], 'there is no root without a network', ''],
    [['start', '--root', 'nbd', '--restrict'], '--restrict: not with --root nbd', 'leave --root out'],
    [['start', '--publish', '80'], '--publish 80: expected [ADDRESS:]HOST:GUEST', '8080:80'],
    [['start', '--runtime', 'tape'], '--runtime tape: expected disk or initramfs', ''],
    [['start', '--env', 'x'], '--env x: expected NAME=VALUE', ''],
    [['start', '--timeout', '0'], '--timeout 0: expected a number of at least 1', ''],
    [['start', 'one', 'two'], 'takes one application', ''],
    [['start', '/nowhere'], '/nowhere is not an application: it has no package.json', 'a folder with a package.json'],
    [['config', 'one', 'two'], 'takes one application', ''],
    [['config', '/nowhere'], '/nowhere is not an application: it has no package.json', 'a folder with a package.json'],
    [['init', 'one', 'two'], 'takes one folder', ''],
    [['toolchain', 'sharpen'], 'unknown action "sharpen"', 'build, path, env, run'],
    [['toolchain', 'run'], 'no command', 'nodeos toolchain run -- make'],
    [['cache', 'eat'], 'unknown action "eat"', 'ls, verify, prune, pull, push, key'],
    [['cache', 'constructor'], 'unknown action "constructor"', 'ls, verify, prune'],
    [['cache', 'pull'], 'from which remote cache?', 'NODEOS_REMOTE_CACHE'],
    [['cache', 'push'], 'to which remote cache?', 'REMOTE'],
    [['cache', 'push', '/tmp/x'], 'no key to sign with', 'nodeos cache key FILE'],
    [['cache', 'push', 'gopher://x'], 'no remote cache of a known kind', 'oci://REGISTRY/REPOSITORY'],
    [['cache', 'verify', '--rebuild', 'attic'], 'no step of this system', 'toolchain-gcc'],
    [['build', '--remote', '/x', '--no-remote'], '--no-remote, or --remote', ''],
  ])('%j', async (args, cause, remedy) => {
    const { status, stdout, stderr } = await nodeos(...args);
    expect(stderr).toContain(cause);
    expect(stderr).toContain(remedy);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).not.toMatch(/^ {4}at /m); // no stack trace
  });

  it('a folder that is not an application', async () => {
    const broken = await temporary();
    await writeFile(join(broken, 'package.json'), '{ "name": ');
    expect((await nodeos('start', broken)).stderr).toContain('package.json is not valid JSON');
    const unlocked = await application({ 'main.js': '' }, { dependencies: { fastify: '5' } });
    expect((await nodeos('start', unlocked)).stderr).toContain('dependencies but no package-lock.json');
    const nothing = await application({ 'main.js': '' }, { main: 'missing.js' });
    expect((await nodeos('start', nothing)).stderr).toContain('missing.js');
    const shell = await application({ 'main.js': '' }, { scripts: { start: 'node a | node b' } });
    expect((await nodeos('start', shell)).stderr).toContain('needs a shell');
    const command = await application({ 'main.js': '' }, { scripts: { start: 'python main.py' } });
    expect((await nodeos('build', 'initramfs', '--app', command)).stderr).toMatch(/python|not `node FILE`/);
  });
});

describe('nodeos config', () => {
  it('shows all values with their sources, as text and as JSON', async () => {
    const app = await application({ 'main.js': '', 'nodeos.config.json': '{ "memory": "1G" }' });
    const text = await nodeos('config', app, '--cpus', '2');
    expect(text).toMatchObject({ status: 0, stderr: '' });
    expect(text.stdout).toMatch(/^memory +"1G" {2}\(nodeos\.config\.json\)\ncpus +2 {2}\(--cpus\)$/m);
    expect(text.stdout).toMatch(new RegExp(`^app +"${app}" {2}\\(default\\)$`, 'm'));
    const json = JSON.parse((await nodeos('config', app, '--json')).stdout) as Record<string, unknown>;
    expect(json).toMatchObject({
      memory: { value: '1G', from: 'nodeos.config.json' },
      libc: { value: 'musl', from: 'default' },
    });
  });

  it('shows the defaults in a folder without an application', async () => {
    const { status, stdout } = await start(['config'], { cwd: await temporary() }).ended;
    expect(status).toBe(0);
    expect(stdout).toMatch(/^app +- /);
    expect(stdout.match(/\((.*)\)$/gm)?.filter((from) => from !== '(default)')).toEqual([]);
  });

  it('escapes what a terminal would obey', async () => {
    const app = await application({
      'main.js': '',
      'nodeos.config.json': '{ "env": { "A\\u001b]0;b": "\\u001b[2J" } }',
    });
    const { status, stdout } = await nodeos('config', app);
    expect(status).toBe(0);
    expect(stdout).not.toContain('\u001b');
  });
});

describe('nodeos init', () => {
  it.each([
    [[], 'nodeos.config.ts'],
    [['--js'], 'nodeos.config.js'],
  ])('with %j writes %s, which nodeos config reads, and never overwrites it', async (options, name) => {
    const app = await application({ 'main.js': '' }, { scripts: { build: 'true' } });
    expect(await nodeos('init', app, ...options)).toMatchObject({ status: 0, stdout: `${join(app, name)}\n` });
    const content = await readFile(join(app, name), 'utf8');
    expect((await nodeos('config', app)).stdout).toMatch(new RegExp(`^build +"npm run build" {2}\\(${name}\\)$`, 'm'));
    for (const again of [[], ['--js']]) {
      const { status, stderr } = await nodeos('init', app, ...again);
      expect({ status, stderr }).toEqual({
        status: 2,
        stderr: `nodeos: ${app} has a configuration: ${name} is left as it is\n`,
      });
    }
    expect(await readFile(join(app, name), 'utf8')).toBe(content);
    expect(await readdir(app)).toEqual(expect.arrayContaining([name]));
  });

  it('makes the folder', async () => {
    const dir = join(await temporary(), 'new');
    expect((await nodeos('init', dir)).status).toBe(0);
    expect(await readdir(dir)).toEqual(['nodeos.config.ts']);
  });
});

describe('nodeos build', () => {
  it('reports that there is nothing to do when everything is cached', async () => {
    const { status, stdout, stderr } = await nodeos('build');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^kernel: .*\ninitramfs: /);
    expect(stderr).toContain('nothing to do');
  });

  it.each(['x86_64', 'aarch64'])('explains the runtime and a boot medium for %s', async (target) => {
    const { status, stdout, stderr } = await nodeos('build', 'runtime', 'disk', '--target', target, '--explain');
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/^runtime-musl: /m);
    expect(stdout).toMatch(/^disk: /m);
  });

  it('explains why a step is built', async () => {
    const app = await application({ 'main.js': `// ${Date.now()}` }); // unique: the latest of its kind
    const before = await nodeos('build', 'initramfs', '--app', app);
    expect(before.status, before.stderr).toBe(0);
    await writeFile(join(app, 'main.js'), '2');
    const { stdout } = await nodeos('build', 'initramfs', '--app', app, '--explain');
    expect(stdout).toMatch(/app: to be built\n {2}- file main\.js changed from [0-9a-f]{12} to [0-9a-f]{12}/);
    expect(stdout).toContain('archive-runtime: in the cache'.slice(0, 15));
  });

  it('repacks only the application if only that has changed', async () => {
    const app = await application({ 'main.js': `// ${Date.now()}` });
    const { stdout } = await nodeos('build', 'initramfs', '--app', app, '--json');
    const started = stdout
      .split('\n')
      .filter((line) => line.includes('"event":"start"'))
      .map((line) => (JSON.parse(line) as { step: string }).step);
    expect(started).toEqual(['app', 'archive-app', 'initramfs']);
  });

  it('copies the results, and lists them as JSON lines with --json', async () => {
    const out = await temporary();
    const { stdout } = await nodeos(
      'build',
      'initramfs',
      '--app',
      join(ROOT, 'examples/hello'),
      '--out',
      out,
      '--json',
    );
    const results = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string; files?: string[] })
      .filter(({ event }) => event === 'result');
    expect(results).toMatchObject([{ files: [join(out, 'initramfs')] }]);
  });

  it('names a kernel option that got lost, and accepts fragments of the user', async () => {
    const fragments = await temporary();
    await writeFile(join(fragments, 'mine.config'), '# Sound, without the menu above it.\nCONFIG_SND_HDA_INTEL=y\n');
    const { status, stderr } = await nodeos('build', 'kernel', '--fragment', fragments);
    expect(status).toBe(1);
    expect(stderr).toContain('kernel: 1 kernel options got lost');
    expect(stderr).toContain('mine.config: CONFIG_SND_HDA_INTEL=y (it became: unknown to this kernel, or not visible)');
  });
});

describe('nodeos in a clone', () => {
  it('needs no system packages to look and tell', async () => {
    // A machine with Node.js and nothing else.
    const bin = await temporary();
    await symlink(process.execPath, join(bin, 'node'));
    const command = [join(ROOT, 'bin/nodeos'), 'doctor'];
    const { status, stdout } = spawnSync(process.execPath, command, { env: { PATH: bin }, encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stdout).toMatch(/lacking +QEMU[^]*install/);
  });
});

describe('nodeos cache', () => {
  it('says that what is made where it is needed is not pushed', async () => {
    const key = join(await temporary(), 'key.pem');
    const made = await nodeos('cache', 'key', key);
    expect(made.stdout).toMatch(/^ed25519:[A-Za-z0-9+/]{43}=\n$/);
    expect((await stat(key)).mode & 0o777).toBe(0o600);
    expect((await nodeos('cache', 'key', key)).stdout).toBe(made.stdout);
    const { status, stderr } = await nodeos('cache', 'push', '/tmp/x', '--key', key, '--only', 'usr');
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: expect.stringMatching(/--only usr: it is not shared[^]*runtime-musl/),
    });
  });

  it('lists and verifies the cache', async () => {
    const list = await nodeos('cache', 'ls');
    expect(list.stdout).toMatch(/^[0-9a-f]{12} +[\d.]+ MiB .* kernel \(x86_64\)$/m);
    expect((await nodeos('cache', 'prune', '--keep', '100', '--dry-run')).stdout).toContain('would free');
    // The user's own cache may have dozens of gigabytes.
    const env = { NODEOS_CACHE: await cacheWith('init', 'data') };
    expect(await start(['cache', 'verify'], { env }).ended).toMatchObject({ status: 0 });
  });

  it.each([[['clean', '--all']], [['cache', 'prune', '--sources']], [['cache', 'verify', '--remove']]])(
    'does not empty a folder that is not known to be a cache: %j',
    async (args) => {
      const folder = await temporary();
      await writeFile(join(folder, 'notes.txt'), 'mine');
      const { status, stdout, stderr } = await start(args, { env: { NODEOS_CACHE: folder } }).ended;
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
      expect(stderr).toContain(`${folder} is not known to be a cache: it has no CACHEDIR.TAG of nodeos, but notes.txt`);
      expect(stderr).toContain('nothing is removed');
    },
  );

  it('reports the files that it leaves alone', async () => {
    const [cache, other] = [await temporary(), await temporary()];
    await writeFile(join(other, 'file'), 'mine');
    await symlink(other, join(cache, 'steps'));
    for (const args of [['clean'], ['cache', 'prune']]) {
      const { status, stderr } = await start(args, { env: { NODEOS_CACHE: cache } }).ended;
      expect(status, stderr).toBe(0);
      expect(stderr).toBe(`nodeos: left alone: ${join(cache, 'steps')}: it is a symbolic link\n`);
    }
    expect(await readdir(other)).toEqual(['file']);
  });

  it('removes the modules that Node.js has compiled', async () => {
    const caches = await temporary();
    const compiled = join(caches, 'nodeos-compiled');
    await mkdir(join(compiled, 'v20.0.0'), { recursive: true });
    await writeFile(join(compiled, 'v20.0.0', 'main.js'), 'compiled');
    const { status, stderr } = await start(['clean'], { env: { NODEOS_CACHE: '', XDG_CACHE_HOME: caches } }).ended;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(await readdir(caches)).not.toContain('nodeos-compiled');
  });
});
