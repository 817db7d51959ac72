import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { UsageError } from '@nodeos/base';
import { DEFAULT_TARGET, targetOf } from '@nodeos/targets';
import { afterAll, describe, expect, it } from 'vitest';
import { readApplication, type Application } from '../application.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-application-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const read = (dir: string): Promise<Application> => readApplication(dir, targetOf(DEFAULT_TARGET));
let count = 0;

function folder(files: Readonly<Record<string, string | object>>): string {
  const dir = join(root, `app-${count++}`);
  mkdirSync(dir);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return dir;
}

async function refused(files: Readonly<Record<string, string | object>>): Promise<UsageError> {
  const dir = folder(files);
  const error: unknown = await read(dir).then(
    () => new Error('it was taken'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UsageError);
  return error as UsageError;
}

describe('an application', () => {
  it('can be a package.json and an index.js', async () => {
    const dir = folder({ 'package.json': '{}', 'index.js': '' });
    expect(await read(dir)).toMatchObject({
      dir,
      name: basename(dir),
      packed: { files: ['index.js', 'package.json'], links: {} },
      project: undefined,
      start: { main: { kind: 'module', main: 'index.js', from: 'the default' } },
      notes: [],
    });
  });

  it('has the files that npm would pack, sorted', async () => {
    const dir = folder({
      'package.json': { name: '@acme/web', main: 'src/main.js', files: ['src', 'public/**/*.html'] },
      'package-lock.json': { lockfileVersion: 3, packages: {} },
      'README.md': 'x',
      '.npmrc': '//registry.invalid/:_authToken=secret',
      'src/main.js': 'x',
      'src/a.js': 'x',
      'src/.npmrc': 'secret',
      'public/deep/index.html': 'x',
      'public/index.css': 'x',
      'notes.txt': 'x',
      'node_modules/dep/index.js': 'x',
    });
    const app = await read(dir);
    expect(app.packed.files).toEqual([
      'README.md',
      'package.json',
      'public/deep/index.html',
      'src/a.js',
      'src/main.js',
    ]);
    expect(app).toMatchObject({ name: '@acme/web', project: { lock: { lockfileVersion: 3 } } });
  });

  it('leaves out files by .npmignore, or else by .gitignore', async () => {
    const files = { 'package.json': {}, 'index.js': '', 'test/a.js': '', 'build/out.js': '', '.gitignore': 'build\n' };
    expect((await read(folder(files))).packed.files).toEqual(['index.js', 'package.json', 'test/a.js']);
    const both = folder({ ...files, '.npmignore': 'test\n' });
    expect((await read(both)).packed.files).toEqual(['build/out.js', 'index.js', 'package.json']);
  });

  it.each(['.env', '.npmrc', 'lib/.npmrc'])('packs %s exactly if npm does', async (name) => {
    const { packed } = await read(folder({ 'package.json': {}, 'index.js': '', [name]: 'secret' }));
    expect(packed.files.includes(name)).toBe(name === '.env');
  });

  it('with dependencies and a lock file is accepted', async () => {
    const dir = folder({
      'package.json': { dependencies: { ms: '2.1.3' }, bundleDependencies: ['ms'], scripts: { start: 'ms 60000' } },
      'package-lock.json': {},
    });
    expect(await read(dir)).toMatchObject({
      project: { lock: {} },
      start: { main: { kind: 'bin', bin: 'ms', args: ['60000'] } },
    });
  });

  it('needs no lock file for development dependencies alone', async () => {
    const dir = folder({ 'package.json': { devDependencies: { eslint: '9' } }, 'index.js': '' });
    expect(await read(dir)).toMatchObject({ project: undefined });
  });

  it('can have settings', async () => {
    const nodeos = { user: 'root', restart: 'always', onexit: 'halt', env: { A: '1' } };
    const { manifest } = await read(folder({ 'package.json': { nodeos }, 'index.js': '' }));
    expect(manifest.nodeos).toEqual(nodeos);
  });
});

describe('an invalid application is rejected', () => {
  it('because it has no package.json', async () => {
    expect(await refused({ 'index.js': '' })).toMatchObject({
      message: expect.stringContaining('is not an application: it has no package.json') as string,
      hint: 'name a folder with a package.json, or none for a REPL',
    });
    await expect(read(join(root, 'missing'))).rejects.toThrow(UsageError);
    const file = join(folder({ 'package.json': {} }), 'package.json');
    await expect(read(file)).rejects.toThrow('is not an application');
  });

  it.each(['', '{', '{"name": "x",}', 'module.exports = {}', '[]', '[{"name":"x"}]', 'null', '5', '"x"'])(
    'because package.json is %j',
    async (text) => {
      expect((await refused({ 'package.json': text, 'index.js': '' })).message).toMatch(
        /package\.json is not valid JSON: /,
      );
    },
  );

  it('because the versions of its dependencies are not fixed', async () => {
    const error = await refused({ 'package.json': { dependencies: { ms: '*' } }, 'index.js': '' });
    expect(error.message).toContain('no package-lock.json');
    expect(error.message).toContain(root);
    expect(error.hint).toContain('npm install');
  });

  it.each([
    ['a main that is not there', { main: 'server.js' }, 'main names server.js'],
    ['a start script whose file is not there', { scripts: { start: 'node dist/x.js' } }, 'names dist/x.js'],
    ['a main outside the folder', { main: '../a.js' }, 'main names ../a.js'],
    ['an absolute main', { main: '/etc/passwd' }, 'main names /etc/passwd'],
  ])('because of %s', async (_, manifest, message) => {
    const error = await refused({ 'package.json': manifest, 'lib/a.js': '', 'src/b.js': '' });
    expect(error.message).toContain(message);
    expect(error.hint).toContain('.npmignore');
  });

  it.each([
    ['`files` of package.json', { files: ['src'] }, {}, 'add "lib/a.js" to `files`'],
    ['.npmignore', {}, { '.npmignore': 'lib\n', '.gitignore': '' }, 'take lib/a.js out of .npmignore'],
    ['.gitignore', {}, { '.gitignore': 'lib\n' }, 'make an .npmignore'],
  ])('because %s leaves out the file to run', async (rule, manifest, files, hint) => {
    const start = { scripts: { start: 'node lib/a.js' } };
    const error = await refused({
      'package.json': { ...start, ...manifest },
      'lib/a.js': '',
      'src/b.js': '',
      ...files,
    });
    expect(error.message).toContain(`names lib/a.js, which is not among the files that npm would pack`);
    expect(error.message).toContain(`it is there, but ${rule} leaves it out`);
    expect(error.hint).toContain(hint);
  });

  it('because there is nothing to run', async () => {
    await expect(read(folder({ 'package.json': {}, 'main.js': '' }))).rejects.toThrow(
      /neither scripts\.start nor main/,
    );
  });

  it.each([
    ['user', 'nobody', 'app, root'],
    ['restart', 'sometimes', 'never, on-failure, always'],
    ['onexit', 'explode', 'reboot, poweroff, halt, shell'],
    ['user', 5, 'app, root'],
  ])('because nodeos.%s is %j', async (name, value, allowed) => {
    const error = await refused({ 'package.json': { nodeos: { [name]: value } }, 'index.js': '' });
    expect(error.message).toContain(`nodeos.${name} is "${value}"; it can be ${allowed}`);
  });

  it.each([
    ['name', { name: 5 }],
    ['main', { main: ['a.js'] }],
    ['scripts', { scripts: 'node a.js' }],
    ['scripts.start', { scripts: { start: 1 } }],
    ['dependencies', { dependencies: 'ms' }],
    ['files', { files: 'src' }],
    ['nodeos', { nodeos: 'root' }],
    ['nodeos.env', { nodeos: { env: 'A=1' } }],
    ['nodeos.env.PORT', { nodeos: { env: { PORT: 80 } } }],
  ])('because %s has the wrong type', async (name, manifest) => {
    const error = await refused({ 'package.json': manifest, 'index.js': '' });
    expect(error.message).toMatch(new RegExp(`package\\.json: ${name.replaceAll('.', '\\.')} must be `));
  });
});

describe('the user is told about', () => {
  const notesOf = async (dir: string): Promise<string> => (await read(dir)).notes.join('\n');

  it('symbolic links to files that are not packed; other links are kept', async () => {
    const dir = folder({
      'package.json': {},
      'index.js': '',
      'releases/5/a.js': '',
      'secret/key': '',
      '.gitignore': 'secret',
    });
    const links = {
      current: 'releases/5',
      'main.js': './index.js',
      'releases/up.js': '../index.js',
      second: 'current',
      outside: '../other',
      absolute: '/etc/passwd',
      ignored: 'secret/key',
      dangling: 'nothing',
    };
    for (const [path, to] of Object.entries(links)) symlinkSync(to, join(dir, path));
    const { packed } = await read(dir);
    expect(Object.keys(packed.links).sort()).toEqual(['current', 'main.js', 'releases/up.js', 'second']);
    expect(await notesOf(dir)).toMatch(
      /^symbolic links are left out: absolute → \/etc\/passwd .*dangling → nothing .*ignored → .*outside → /,
    );
  });

  it('no link to the folder of the start file, because the link is kept', async () => {
    const dir = folder({ 'package.json': { main: 'current/app.js' }, 'v1/app.js': '' });
    symlinkSync('v1', join(dir, 'current'));
    expect((await read(dir)).packed.links).toEqual({ current: 'v1' });
  });

  it('files that npm cannot pack because of their names', async () => {
    const dir = folder({ 'package.json': {}, 'index.js': '', 'views/a*b.html': '' });
    expect(await notesOf(dir)).toContain('views/a*b.html');
  });

  it('the variables of an ignored .env file', async () => {
    const dir = folder({ 'package.json': {}, 'index.js': '', '.env': 'A=1', '.gitignore': '.env' });
    expect(await notesOf(dir)).toBe('.env is left out by .gitignore; --env NAME=VALUE gives single variables');
  });

  it('the ignored rest of the folder of main', async () => {
    const files = { 'package.json': { main: 'dist/main.js' }, 'dist/main.js': '', 'dist/other.js': '' };
    expect(await notesOf(folder(files))).toBe('');
    expect(await notesOf(folder({ ...files, '.gitignore': 'dist/**' }))).toContain(
      'of dist only dist/main.js is packed',
    );
    const taken = { ...files, 'package.json': { main: 'dist/main.js', files: ['dist'] }, '.gitignore': 'dist/**' };
    expect(await notesOf(folder(taken))).toBe('');
  });

  it('scripts that npm would run', async () => {
    const scripts = {
      start: 'node .',
      prestart: 'npm run build',
      build: 'tsc',
      poststart: 'echo done',
      postinstall: 'prisma generate',
      prepare: 'husky',
    };
    const lines = (await notesOf(folder({ 'package.json': { scripts }, 'index.js': '' }))).split('\n');
    expect(lines[0]).toMatch(
      /^scripts\.prestart is not run: npm run build \(.*scripts\.build \("tsc"\) runs "tsc", which is neither/,
    );
    expect(lines.slice(1)).toEqual([
      'scripts.poststart is not run: echo done',
      'scripts that are not run: postinstall (prisma generate), prepare (husky)',
    ]);
  });
});

describe('a file', () => {
  it('is named if its name is not UTF-8', async () => {
    const dir = folder({ 'package.json': {}, 'index.js': '', 'lib/a.js': '' });
    writeFileSync(Buffer.concat([Buffer.from(`${dir}/lib/caf`), Buffer.from([0xe9]), Buffer.from('.txt')]), '');
    await expect(read(dir)).rejects.toThrow(`${dir}: the name of lib/caf\\xe9.txt is not UTF-8`);
    writeFileSync(join(dir, '.npmignore'), '*.txt\n');
    expect((await read(dir)).packed.files).toContain('lib/a.js');
  });

  it.each(['--env-file=.env', '--env-file .env', '--env_file=./.env'])(
    'must be packed if %s reads it',
    async (option) => {
      const files = {
        'package.json': { scripts: { start: `node ${option} index.js` } },
        'index.js': '',
        '.env': 'A=1',
      };
      expect((await read(folder(files))).start.main.nodeArgs).toEqual(option.split(' '));
      const error = await refused({ ...files, '.gitignore': '.env' });
      expect(error.message).toContain(
        'names .env, which is not among the files that npm would pack: it is there, but .gitignore',
      );
      expect(error.hint).toContain('--env NAME=VALUE');
    },
  );

  it('must be packed if it is preloaded, but a package need not', async () => {
    const files = (start: string): Record<string, string | object> => ({
      'package.json': { scripts: { start } },
      'index.js': '',
    });
    expect((await refused(files('node -r ./tracing.js .'))).message).toContain('names tracing.js');
    await read(folder(files('node -r dotenv/config --env-file-if-exists=.env .')));
  });

  it('can be run from a folder whose name begins with @', async () => {
    const { start } = await read(folder({ 'package.json': { main: '@web/main.js' }, '@web/main.js': '' }));
    expect(start.main).toMatchObject({ main: '@web/main.js' });
  });
});

describe('a command', () => {
  const packages = {
    '': {},
    'node_modules/one': { version: '1.0.0', bin: { one: 'cli.js' } },
    'node_modules/tool': { version: '1.0.0', bin: { tool: 'cli.js' }, dev: true },
    'node_modules/one/node_modules/two': { version: '1.0.0', bin: { two: 'cli.js' } },
  };
  const files = (start: string): Record<string, string | object> => ({
    'package.json': { scripts: { start }, dependencies: { one: '1' } },
    'package-lock.json': { packages },
    'index.js': '',
  });

  it('of a dependency is accepted', async () => {
    expect((await read(folder(files('one')))).start.main).toMatchObject({ kind: 'bin', bin: 'one' });
  });

  it.each([
    ['of a development dependency', 'tool', '"tool" of tool, a development dependency, which is not installed'],
    ['of what a dependency depends on', 'two', '"two", which is neither node nor a command of a dependency'],
    ['of nothing', 'npm run serve', 'runs the script "serve", and there is none'],
  ])('is rejected: %s', async (_, start, message) => {
    expect((await refused(files(start))).message).toContain(message);
  });

  it('that cannot run on the target can be replaced for this system', async () => {
    const { 'package.json': manifest, ...others } = files('tool');
    const dir = folder({
      ...others,
      'package.json': { ...(manifest as object), nodeos: { start: 'node --no-warnings .' } },
    });
    expect((await read(dir)).start.main).toMatchObject({ main: 'index.js', nodeArgs: ['--no-warnings'] });
  });
});
