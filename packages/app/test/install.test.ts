/** Installs with the real npm for an image. Plain `npm ci` can install each of these projects. */
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NodeosError, UsageError } from '@nodeos/base';
import { Cache, hashPath } from '@nodeos/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeLock } from '../index.js';
import { command, folder, install, createLock, runApp, read, root, target, type Files } from './support.js';
import { modulesSteps } from '../install.js';

const DEPENDENCIES = { ms: '2.1.3' };
/** The lock of a project with a single dependency. */
const LOCK = {
  lockfileVersion: 3,
  packages: {
    '': { dependencies: DEPENDENCIES },
    'node_modules/ms': {
      version: '2.1.3',
      integrity: 'sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==',
    },
  },
};
const TELLS = "console.log(require('ms')('2 days'))";

/** Packs a package into a tarball. */
function packed(files: Files, to: string): void {
  mkdirSync(to, { recursive: true });
  command(folder(files), 'npm', 'pack', `--pack-destination=${to}`, '--silent');
}

async function failure(dir: string): Promise<NodeosError> {
  const error: unknown = await install(dir).then(
    () => new Error('it was installed'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(NodeosError);
  return error as NodeosError;
}

describe('a project is installed the way npm ci does it', { timeout: 300_000 }, () => {
  it('with an npm-shrinkwrap.json, which takes precedence over a package-lock.json', async () => {
    const files = { 'npm-shrinkwrap.json': LOCK, 'package-lock.json': {}, 'index.js': TELLS };
    const dir = folder({ ...files, 'package.json': { dependencies: DEPENDENCIES } });
    const image = await install(dir);
    expect(runApp(image)).toBe('172800000\n');
    expect(image.config.env).toEqual({ LIBC: 'musl' });
  });

  it('with a byte-order mark in package.json and the lock file', async () => {
    const marked = (value: object): string => `\uFEFF${JSON.stringify(value)}`;
    const manifest = marked({ dependencies: DEPENDENCIES });
    const dir = folder({ 'package.json': manifest, 'package-lock.json': marked(LOCK), 'index.js': TELLS });
    expect(runApp(await install(dir))).toBe('172800000\n');
  });

  it('with the settings of .npmrc, which are part of the key', async () => {
    // Its peer dependency cannot be satisfied, so npm refuses without the setting.
    const peer = { name: 'picky', version: '1.0.0', peerDependencies: { ms: '^1.0.0' }, main: 'index.js' };
    const dir = folder({
      'package.json': { dependencies: { ...DEPENDENCIES, picky: 'file:vendor/picky-1.0.0.tgz' } },
      '.npmrc': 'legacy-peer-deps=true\n',
      'index.js': TELLS,
    });
    packed({ 'package.json': peer, 'index.js': '' }, join(dir, 'vendor'));
    const first = await install(createLock(dir));
    expect(runApp(first)).toBe('172800000\n');
    expect(existsSync(join(first.imageDir, '.npmrc'))).toBe(false);
    writeFileSync(join(dir, '.npmrc'), '');
    const error = await failure(dir);
    expect(error.lines.join('\n')).toMatch(/ERESOLVE|EUSAGE/);
    expect(error.lines.join('\n')).not.toContain('Usage:');
    expect(error.hint).toMatch(/npm install/);
  });

  it('with its own tarball, whatever npm has cached', async () => {
    const dir = folder({
      'package.json': { dependencies: { x: 'file:vendor/x-1.0.0.tgz' } },
      'index.js': "console.log(require('x'))",
    });
    const x = { 'package.json': { name: 'x', version: '1.0.0' }, 'index.js': `module.exports = ${Date.now()}` };
    packed(x, join(dir, 'vendor'));
    const { npm_config_cache } = process.env;
    createLock(dir);
    process.env['npm_config_cache'] = join(root, 'empty-npm-cache');
    try {
      expect(runApp(await install(dir))).toBe(`${x['index.js'].slice('module.exports = '.length)}\n`);
    } finally {
      if (npm_config_cache === undefined) delete process.env['npm_config_cache'];
      else process.env['npm_config_cache'] = npm_config_cache;
    }
  });

  it('if it is the root of a workspace', async () => {
    const dir = createLock(
      folder({
        'package.json': {
          workspaces: ['packages/*'],
          scripts: { start: 'npx @acme/cli there' },
          dependencies: { '@acme/cli': '1.0.0' },
        },
        'packages/cli/package.json': {
          name: '@acme/cli',
          version: '1.0.0',
          bin: { greet: 'cli.js' },
          dependencies: { '@acme/lib': '^1.0.0', ms: '2.1.3' },
        },
        'packages/cli/cli.js':
          "#!/usr/bin/env node\nconsole.log(require('@acme/lib')(process.argv[2]), require('ms/package.json').version)",
        'packages/lib/package.json': {
          name: '@acme/lib',
          version: '1.0.0',
          main: 'dist/index.js',
          files: ['dist'],
          dependencies: { ms: '2.0.0' },
        },
        'packages/lib/.gitignore': 'dist\n',
        'packages/lib/dist/index.js': "module.exports = (who) => `hello ${who} ${require('ms/package.json').version}`",
      }),
    );
    const image = await install(dir);
    expect(image.config.main).toBe('/app/packages/cli/cli.js');
    expect(runApp(image)).toBe('hello there 2.0.0 2.1.3\n');
    expect(readlinkSync(join(image.imageDir, 'node_modules/@acme/lib'))).toBe('../../packages/lib');
  });

  it('if it is a package of a workspace, without the dependencies of other packages', async () => {
    const workspace = createLock(
      folder({
        'package.json': { workspaces: ['packages/*'], dependencies: { wrappy: '1.0.2' } },
        '.gitignore': '.env\n',
        'packages/web/package.json': {
          name: '@acme/web',
          version: '1.0.0',
          scripts: { start: 'node main' },
          dependencies: { '@acme/lib': '*', ms: '2.1.3' },
        },
        'packages/web/main.js': "console.log(require('@acme/lib'), require('ms/package.json').version)",
        'packages/web/.env': 'SECRET=1',
        'packages/lib/package.json': { name: '@acme/lib', version: '1.0.0', dependencies: { ms: '2.0.0' } },
        'packages/lib/index.js': "module.exports = require('ms/package.json').version",
        'packages/other/package.json': { name: 'other', version: '1.0.0', dependencies: { once: '1.4.0' } },
        'packages/other/index.js': '',
      }),
    );
    const image = await install(join(workspace, 'packages/web'));
    expect(image.config).toMatchObject({ main: '/app/packages/web/main.js', cwd: '/app/packages/web' });
    expect(runApp(image)).toBe('2.0.0 2.1.3\n');
    expect(readdirSync(join(image.imageDir, 'packages')).sort()).toEqual(['lib', 'web']);
    expect(existsSync(join(image.imageDir, 'node_modules/once'))).toBe(false);
    // The ignore file of the workspace also applies to its packages.
    expect(existsSync(join(image.imageDir, 'packages/web/.env'))).toBe(false);
    expect(image.app.notes.join('\n')).toContain('.env is left out by .gitignore');
  });

  it('with a folder next to it that has its own dependencies', async () => {
    const place = folder({
      'app/package.json': { dependencies: { lib: 'file:../lib', ms: '2.1.3' } },
      'app/index.js': "console.log(require('lib'), require('ms/package.json').version)",
      'lib/package.json': { name: 'lib', version: '1.0.0', dependencies: { ms: '2.0.0' } },
      'lib/index.js': "module.exports = require('ms/package.json').version",
    });
    const app = createLock(join(place, 'app'));
    await expect(read(app)).rejects.toThrow(`${join(place, 'lib')} has dependencies but no package-lock.json`);
    createLock(join(place, 'lib'));
    const image = await install(app);
    expect(runApp(image)).toBe('2.0.0 2.1.3\n');
    expect(lstatSync(join(image.imageDir, 'node_modules/lib')).isDirectory()).toBe(true);
  });

  it('with a folder inside it', async () => {
    const dir = createLock(
      folder({
        'package.json': { dependencies: { lib: 'file:vendor/lib' }, files: ['index.js'] },
        'index.js': "console.log(require('lib'))",
        'vendor/lib/package.json': { name: 'lib', version: '1.0.0', dependencies: DEPENDENCIES },
        'vendor/lib/index.js': "module.exports = require('ms')('1s')",
      }),
    );
    expect(runApp(await install(dir))).toBe('1000\n');
  });

  it('with copied folders (install-links)', async () => {
    const place = folder({
      'app/package.json': { dependencies: { lib: 'file:../lib' } },
      'app/.npmrc': 'install-links=true\n',
      'app/index.js': "console.log(require('lib'))",
      'lib/package.json': { name: 'lib', version: '1.0.0', dependencies: DEPENDENCIES },
      'lib/index.js': "module.exports = require('ms')('1m')",
    });
    expect(runApp(await install(createLock(join(place, 'app'))))).toBe('60000\n');
  });

  it('with the same bytes in another folder', async () => {
    const files = {
      'app/package.json': { dependencies: { lib: 'file:../lib', ms: '2.1.3' }, scripts: { start: 'lib' } },
      'lib/package.json': { name: 'lib', version: '1.0.0', bin: 'cli.js' },
      'lib/cli.js': '#!/usr/bin/env node\n',
    };
    const images = ['here', 'there/and further'].map(async (name) => {
      const dir = createLock(join(folder(files, join(root, name)), 'app'));
      return hashPath((await install(dir, new Cache(join(root, `cache of ${name}`)))).imageDir);
    });
    const [one, other] = await Promise.all(images);
    expect(one).toBe(other);
  });
});

describe('an installation', { timeout: 300_000 }, () => {
  it('is repeated for a changed linked package, but not for another version, script or file of the application', async () => {
    const manifest = {
      version: '1.0.0',
      workspaces: ['lib'],
      dependencies: { lib: '*', ...DEPENDENCIES },
      main: 'a.js',
    };
    const lib = { name: 'lib', version: '1.0.0' };
    const dir = createLock(
      folder({ 'package.json': manifest, 'a.js': '', 'lib/package.json': lib, 'lib/index.js': '' }),
    );
    expect((await install(dir)).builtSteps).toEqual(['app-modules', 'app']);
    folder(
      { 'package.json': { ...manifest, version: '2.0.0', scripts: { test: 'x' } }, 'a.js': '1', 'lib/index.js': '2' },
      dir,
    );
    expect((await install(dir)).builtSteps).toEqual(['app']);
    folder({ 'lib/package.json': { ...lib, peerDependencies: { ms: '*' } } }, dir);
    expect((await install(dir)).builtSteps).toEqual(['app-modules', 'app']);
  });
});

describe('credentials of .npmrc', { timeout: 300_000 }, () => {
  it('reach npm but are not in the key, a step or a log', async () => {
    const dir = folder({
      'package.json': { dependencies: { '@nodeos-test/private': '1.0.0' } },
      'package-lock.json': {
        lockfileVersion: 3,
        packages: {
          '': { dependencies: { '@nodeos-test/private': '1.0.0' } },
          'node_modules/@nodeos-test/private': { version: '1.0.0' },
        },
      },
      'index.js': '',
    });
    const seen: (string | undefined)[] = [];
    const { createServer } = await import('node:http');
    const server = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(404).end('{}');
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const rc = (secret: string): string =>
      `@nodeos-test:registry=http://127.0.0.1:${port}/\n//127.0.0.1:${port}/:_authToken=${secret}\nfetch-retries=0\n`;
    writeFileSync(join(dir, '.npmrc'), rc('hunter2-token'));
    const error = await failure(dir);
    server.close();
    expect(error.lines.join('\n')).toContain('E404');
    expect(error.hint).toContain('registry of its scope');
    expect(seen).toContain('Bearer hunter2-token');

    const parameters = async (): Promise<string> => {
      const { project } = await read(dir);
      if (!project) throw new Error('there is nothing to install');
      return JSON.stringify((await modulesSteps(target, project, {}, 'musl')).map((step) => step.parameters));
    };
    const before = await parameters();
    expect(before).toContain(`127.0.0.1:${port}`);
    expect(before).not.toContain('hunter2');
    writeFileSync(join(dir, '.npmrc'), rc('another'));
    expect(await parameters()).toBe(before);
    const found = (): string => execFileSync('grep', ['-rl', 'hunter2', join(root, 'cache')], { encoding: 'utf8' });
    expect(found).toThrow();
  });
});

describe('the code of a dependency', { timeout: 300_000 }, () => {
  /** A repository whose files are made by its prepare script. */
  function repository(): { url: string; commit: string } {
    const dir = folder({
      'package.json': {
        name: 'made',
        version: '1.0.0',
        files: ['made.js'],
        main: 'made.js',
        scripts: { prepare: "node -e \"fs.writeFileSync('made.js', 'module.exports = 42')\"" },
      },
    });
    command(dir, 'git', 'init', '-q');
    command(dir, 'git', 'add', '.');
    command(dir, 'git', '-c', 'user.name=a', '-c', 'user.email=a@b.invalid', 'commit', '-qm', 'first');
    return { url: `git+file://${dir}`, commit: command(dir, 'git', 'rev-parse', 'HEAD').trim() };
  }

  it('from git is prepared if package.json allows it, and reported otherwise', async () => {
    const { url, commit } = repository();
    const manifest = { dependencies: { made: url } };
    const dir = createLock(folder({ 'package.json': manifest, 'index.js': "console.log(require('made'))" }));
    const { notes } = await read(dir);
    expect(notes.join('\n')).toContain(`"allowScripts": {"${url}#${commit}": true}`);
    const without = await install(dir);
    expect(existsSync(join(without.imageDir, 'node_modules/made/made.js'))).toBe(false);
    folder({ 'package.json': { ...manifest, allowScripts: { [`${url}#${commit.slice(0, 8)}`]: true } } }, dir);
    const image = await install(dir);
    expect(image.app.notes).toEqual([]);
    expect(runApp(image)).toBe('42\n');
  });

  it('is reported with the setting that allows it to run', async () => {
    const packages = {
      'node_modules/evil': { version: '1.0.0', hasInstallScript: true },
      'node_modules/x/node_modules/good': { version: '2.0.0', hasInstallScript: true },
      'node_modules/reviewed': { version: '3.0.0', hasInstallScript: true },
      'node_modules/plain': { version: '4.0.0' },
    };
    const files = (allowScripts: object): Files => ({
      'package.json': { dependencies: { evil: '*' }, allowScripts },
      'package-lock.json': { packages },
      'index.js': '',
    });
    const { notes } = await read(folder(files({ reviewed: false })));
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain('"allowScripts": {"evil@1.0.0": true, "good@2.0.0": true}');
    const all = { evil: false, good: true, reviewed: false };
    expect((await read(folder(files(all)))).notes).toEqual([]);
  });
});

describe('patch-package', { timeout: 300_000 }, () => {
  const PATCH = [
    'diff --git a/node_modules/ms/index.js b/node_modules/ms/index.js',
    '--- a/node_modules/ms/index.js',
    '+++ b/node_modules/ms/index.js',
    '@@ -2,7 +2,7 @@',
    '  * Helpers.',
    '  */',
    ' ',
    '-var s = 1000;',
    '+var s = 1;',
    ' var m = s * 60;',
    ' var h = m * 60;',
    ' var d = h * 24;',
    '',
  ].join('\n');
  const manifest = {
    scripts: { postinstall: 'patch-package && echo done' },
    dependencies: DEPENDENCIES,
    devDependencies: { 'patch-package': '8.0.1' },
  };

  it('is run if postinstall runs it, and the rest of postinstall is reported', async () => {
    const dir = createLock(folder({ 'package.json': manifest, 'index.js': TELLS, 'patches/ms+2.1.3.patch': PATCH }));
    const image = await install(dir);
    expect(runApp(image)).toBe('172800\n');
    expect(image.app.notes).toEqual(['scripts that are not run: postinstall (patch-package && echo done)']);
    expect(existsSync(join(image.imageDir, 'node_modules/patch-package'))).toBe(false);
    writeFileSync(join(dir, 'patches/ms+2.1.3.patch'), PATCH.replace('+var s = 1;', '+var s = 2;'));
    expect(runApp(await install(dir))).toBe('345600\n');
  });

  it('fails if a patch does not apply', async () => {
    const wrong = PATCH.replaceAll('var h = m * 60;', 'var h = m * 61;');
    const dir = createLock(folder({ 'package.json': manifest, 'index.js': TELLS, 'patches/ms+2.1.3.patch': wrong }));
    expect((await failure(dir)).lines.join('\n')).toMatch(/Failed to apply patch for package.*ms/);
  });
});

describe('dependencies without a lock file', { timeout: 300_000 }, () => {
  it('are rejected with advice, or get a lock file', async () => {
    const dir = folder({ 'package.json': { dependencies: DEPENDENCIES }, 'index.js': TELLS });
    await expect(read(dir)).rejects.toMatchObject({ hint: expect.stringContaining('--lock') as string });
    const made: string[] = [];
    const makeLockOf = async (at: string): Promise<void> => {
      made.push(at);
      await makeLock(at, AbortSignal.timeout(60_000));
    };
    await read(dir, { makeLock: makeLockOf });
    expect(made).toEqual([dir]);
    expect(runApp(await install(dir))).toBe('172800000\n');
  });

  it.each([
    ['yarn.lock', '__metadata:\n  version: 8\n', /yarn is not installed here|with Yarn 2 and later/],
    ['pnpm-lock.yaml', 'importers:\n\n  .:\n\n  packages/a:\n', /pnpm is not installed here|pnpm --filter NAME deploy/],
    ['bun.lock', '{}', /Bun is not understood/],
  ])('but with %s are rejected with advice', async (name, lock, message) => {
    const files = { 'package.json': { dependencies: DEPENDENCIES }, [name]: lock, 'index.js': '' };
    const error: unknown = await read(folder(files)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UsageError);
    expect((error as UsageError).message).toMatch(message);
    expect((error as UsageError).hint).toContain('"modules": "copy"');
  });

  it('are copied unchanged if package.json says so', async () => {
    const dir = folder({
      'package.json': { dependencies: DEPENDENCIES, nodeos: { modules: 'copy' }, scripts: { start: 'tell now' } },
      'node_modules/tool/package.json': { name: 'tool', bin: { tell: './tell.js' } },
      'node_modules/tool/tell.js': "#!/usr/bin/env node\nconsole.log('told', process.argv[2])",
    });
    symlinkSync('../../elsewhere', join(dir, 'node_modules/linked'));
    symlinkSync('.pnpm/x', join(dir, 'node_modules/inside'));
    const image = await install(dir);
    expect(runApp(image)).toBe('told now\n');
    expect(image.app.notes).toEqual(['links that lead out of node_modules are not followed: node_modules/linked']);
  });
});

describe('the lock of another installer', { timeout: 300_000 }, () => {
  const manifest = { dependencies: { ...DEPENDENCIES, cowsay: '1.6.0' }, devDependencies: { once: '1.4.0' } };
  const path = process.env['PATH'] ?? '';

  beforeAll(() => {
    const tools = folder({ 'package.json': {} });
    command(tools, 'npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', 'pnpm@10.34.9', 'yarn@1.22.22');
    process.env['PATH'] = `${join(tools, 'node_modules/.bin')}:${path}`;
  }, 300_000);
  afterAll(() => void (process.env['PATH'] = path));

  it.each([
    ['pnpm-lock.yaml', 'pnpm', ['install', '--lockfile-only']],
    ['yarn.lock', 'yarn', ['install', '--ignore-scripts', '--non-interactive']],
  ])('%s is used, and leaves no files of its program', async (name, program, args) => {
    const dir = folder({ 'package.json': { ...manifest, scripts: { start: 'cowsay -f small hello' } } });
    command(dir, program, ...args);
    const image = await install(dir);
    expect(image.app.notes).toEqual([expect.stringMatching(new RegExp(`/${name} does not name install scripts`))]);
    expect(runApp(image)).toContain('< hello >');
    expect(existsSync(join(image.imageDir, 'node_modules/once'))).toBe(false);
    expect(readdirSync(join(image.imageDir, 'node_modules')).filter((one) => one.startsWith('.'))).toEqual(['.bin']);
    const again = await install(dir, new Cache(join(root, `again with ${program}`)));
    expect(await hashPath(again.imageDir)).toBe(await hashPath(image.imageDir));
  });
});
