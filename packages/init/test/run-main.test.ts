/**
 * Starting the application in the init's process, with a real Node.js. The application must not notice what ran before.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build } from 'esbuild';

const dir = mkdtempSync(join(tmpdir(), 'nodeos-run-main-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs a role like main.ts, but without a kernel. */
const INIT = `
  import { runRole } from './roles.ts';
  const files = {
    '/proc/cmdline': '',
    '/etc/nodeos.json': JSON.stringify({
      version: 1, name: 'app', main: process.argv[3], args: ['one', 'two'], nodeArgs: [], first: [], cwd: '/',
      env: { MODE: 'test' }, user: 'root', restart: 'never',
    }),
  };
  const sys = new Proxy({}, {
    get: (_, name) => (...args) => {
      if (name === 'print') process.stderr.write(args[1]);
      if (name === 'exists') return args[0] in files;
      if (name === 'read') return Buffer.from(files[args[0]]);
      return 0;
    },
  });
  if (!runRole('start', sys)) process.exitCode = 1;
`;

beforeAll(async () => {
  await build({
    stdin: { contents: INIT, loader: 'ts', resolveDir: fileURLToPath(new URL('../guest', import.meta.url)) },
    outfile: join(dir, 'init'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'silent',
  });
});

function run(name: string, code: string): { status: number | null; stdout: string; stderr: string } {
  const main = join(dir, name);
  writeFileSync(main, code);
  const env = { PATH: '/bin', SECRET: 'of the init' };
  return spawnSync(process.execPath, [join(dir, 'init'), 'start', main], { encoding: 'utf8', env, timeout: 20_000 });
}

const TELL = 'console.log(JSON.stringify({ argv: process.argv, env: process.env, cached }));';

describe('an application in the process of the init', () => {
  it.each([
    [
      'CommonJS',
      'app.cjs',
      `const cached = Object.keys(require.cache).length + (require.main === module ? 0 : 100); ${TELL}`,
    ],
    ['an ES module', 'app.mjs', `const cached = await Promise.resolve(1); ${TELL}`],
  ])('that is %s gets its own arguments and environment', (_, name, code) => {
    const result = run(name, code);
    expect(result).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(result.stdout)).toEqual({
      argv: [process.execPath, join(dir, name), 'one', 'two'],
      env: {
        PATH: '/bin:/sbin',
        LANG: 'C.UTF-8',
        HOME: '/root',
        USER: 'root',
        NODE_ENV: 'production',
        PORT: '80',
        MODE: 'test',
      },
      cached: 1,
    });
  });

  it.each(['broken.cjs', 'broken.mjs'])('that throws at once ends like any other (%s)', (name) => {
    const result = run(
      name,
      `setInterval(() => {}, 1000);\nfunction deep() { throw new Error('no database'); }\ndeep();`,
    );
    expect(result.status).toBe(1);
    expect(result.stderr).toContain('Error: no database');
    expect(result.stderr).toMatch(new RegExp(`at deep .*${name.replace('.', '\\.')}:2:`));
    expect(result.stderr).not.toContain('nodeos:');
  });

  it('that does not exist is reported', () => {
    const result = spawnSync(process.execPath, [join(dir, 'init'), 'start', '/nowhere.js'], { encoding: 'utf8' });
    expect(result.status).toBe(1);
    expect(result.stderr).toContain("Cannot find module '/nowhere.js'");
  });

  it('runs ticks before promises, like any main module', () => {
    const code = `Promise.resolve().then(() => console.log('promise')); process.nextTick(() => console.log('tick')); console.log('main');`;
    expect(run('order.cjs', code).stdout).toBe('main\ntick\npromise\n');
  });
});
