/** Typical applications on the target. What the packing assumes must hold there. */
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { optionsWithValue } from '../../packages/app/node-options.js';
import { application, LONG, nodeos, valueOf } from '../support.js';

/** Prints the options of Node.js whose value may be the next word. */
const TABLE = `
  const { getCLIOptionsInfo, types } = require('internal/test/binding').internalBinding('options');
  const { options, aliases } = getCLIOptionsInfo();
  const valued = [types.kInteger, types.kUInteger, types.kString, types.kHostPort, types.kStringList];
  const names = new Set([...options].filter(([name, { type }]) => name.startsWith('-') && valued.includes(type)).map(([name]) => name));
  for (let before = -1; before !== names.size; ) {
    before = names.size;
    for (const [alias, [to, ...more]] of aliases) {
      if (!/[ =]/.test(alias) && more.length === 0 && names.has(to)) names.add(alias);
    }
  }
  console.log(JSON.stringify([...names].sort()));`;

/** A program that prints its name and everything it was given. */
const tell = (name: string): string => `
  const { argv, execArgv, env } = process;
  const variables = Object.fromEntries(Object.entries(env).filter(([name]) => /^(NODE_|npm_|STAGE|HOOKED|PORT)/.test(name)));
  console.log('told ' + JSON.stringify({ name: ${JSON.stringify(name)}, args: argv.slice(1), execArgv, cwd: process.cwd(), uid: process.getuid(), variables }));`;

interface Told {
  readonly name: string;
  readonly args: readonly string[];
  readonly execArgv: readonly string[];
  readonly cwd: string;
  readonly uid: number;
  readonly variables: Readonly<Record<string, string>>;
}

const toldIn = (text: string): Told[] =>
  [...text.matchAll(/told (\{.*\})/g)].map(([, json = '']) => JSON.parse(json) as Told);

describe('typical applications', { timeout: LONG }, () => {
  it('the list of options with a value equals the table of Node.js', async () => {
    const code = `return JSON.parse(child_process.execFileSync('/bin/node', ['--no-warnings', '--expose-internals', '--eval', ${JSON.stringify(TABLE)}]))`;
    expect(await valueOf(code)).toEqual(optionsWithValue());
  });

  it('a start line with every supported element works', async () => {
    const scripts = {
      prestart: 'STAGE=1 node --title before migrate.js "two words" && npm run --silent second -- x',
      second: './bin/second',
      start: 'cross-env NODE_OPTIONS="--require ./hook.js" HOOKED=yes greet --port $PORT "${NAME:-nobody here}" $WORDS',
    };
    const dir = await application(
      {
        'migrate.js': tell('migrate'),
        'bin/second': `#!/usr/bin/env -S node --no-warnings\n${tell('second')}`,
        'hook.js': 'process.env.HOOKED += ` ${process.argv.length}`;',
        'tools/cli/package.json': JSON.stringify({
          name: 'cli',
          version: '1.0.0',
          bin: { greet: './greet.mjs' },
          dependencies: { lib: '*' },
        }),
        'tools/cli/greet.mjs': `#!/usr/bin/env node\nimport lib from 'lib';\nimport { readFileSync } from 'node:fs';\nconsole.log(lib, readFileSync('current/note', 'utf8'));${tell('greet')}`,
        'tools/lib/package.json': JSON.stringify({ name: 'lib', version: '1.0.0' }),
        'tools/lib/index.js': "module.exports = 'of the library'",
        'releases/5/note': 'of the release',
        'package-lock.json': JSON.stringify({
          lockfileVersion: 3,
          packages: {
            '': { workspaces: ['tools/*'] },
            'node_modules/cli': { resolved: 'tools/cli', link: true },
            'node_modules/lib': { resolved: 'tools/lib', link: true },
            'tools/cli': { version: '1.0.0', bin: { greet: 'greet.mjs' }, dependencies: { lib: '*' } },
            'tools/lib': { version: '1.0.0' },
          },
        }),
      },
      { scripts, workspaces: ['tools/*'], config: { color: 'blue' }, nodeos: { env: { WORDS: 'a b' } } },
    );
    await symlink('releases/5', join(dir, 'current'));
    const { status, stdout, stderr } = await nodeos('start', dir, '--no-network', '--env', 'PORT=81');
    expect(status, stderr).toBe(0);
    expect(stdout).toContain('of the library of the release');
    const npm = { npm_package_name: 'app', npm_package_version: '1.0.0', npm_package_config_color: 'blue' };
    const common = { cwd: '/app', uid: 1000 };
    expect(toldIn(stdout)).toEqual([
      {
        ...common,
        name: 'migrate',
        args: ['/app/migrate.js', 'two words'],
        execArgv: ['--title', 'before'],
        variables: { STAGE: '1', NODE_ENV: 'production', PORT: '81', ...npm },
      },
      {
        ...common,
        name: 'second',
        args: ['/app/bin/second', 'x'],
        execArgv: ['--no-warnings'],
        variables: { NODE_ENV: 'production', PORT: '81', ...npm },
      },
      {
        ...common,
        name: 'greet',
        args: ['/app/tools/cli/greet.mjs', '--port', '81', 'nobody here', 'a', 'b'],
        execArgv: [],
        variables: { NODE_OPTIONS: '--require ./hook.js', HOOKED: 'yes 7', NODE_ENV: 'production', PORT: '81', ...npm },
      },
    ]);
  });

  it('a failing command before the application is reported as the cause', async () => {
    const scripts = { start: 'node before.js && node main.js' };
    const dir = await application({ 'before.js': 'process.exitCode = 3', 'main.js': tell('main') }, { scripts });
    const once = ['--no-network', '--append', 'nodeos.attempts=1'];
    const { status, stdout, stderr } = await nodeos('start', dir, ...once);
    expect(status).toBe(1);
    expect(stdout + stderr).toContain('scripts.start ("node before.js && node main.js") ended with status 3');
    expect(stderr).toContain('ended with status 3');
    expect(toldIn(stdout)).toEqual([]);
  });

  it('files that are left out are reported before the boot', async () => {
    const files = { 'main.js': '', '.env': 'A=1', '.gitignore': '.env' };
    const dir = await application(files, { scripts: { start: 'node --env-file=.env main.js' } });
    const refused = await nodeos('start', dir, '--no-network');
    expect(refused.status).toBe(2);
    expect(refused.stderr).toMatch(/names \.env, .* \.gitignore leaves it out/);
    const other = await application(files, { scripts: { start: 'node main.js', postinstall: 'husky' } });
    const { status, stderr } = await nodeos('build', 'app', '--app', other, '--explain');
    expect(status, stderr).toBe(0);
    expect(stderr).toContain('nodeos: .env is left out by .gitignore');
    expect(stderr).toContain('nodeos: scripts that are not run: postinstall (husky)');
  });
});
