import { UsageError } from '@nodeos/base';
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { parseStart, startOf } from '../start-script.js';
import { splitWords } from '../words.js';

const FILES = ['index.js', 'server.js', 'app.mjs', 'lib/index.js', 'lib/main.js', 'src/cli.cjs', 'data.json', 'a b.js'];
const packed = (path: string): boolean => FILES.includes(path);
const parse = (script: string): object => {
  const { kind, args, nodeArgs, env, ...rest } = parseStart(script, packed);
  const main = 'main' in rest ? rest.main : rest.bin;
  return Object.fromEntries(
    Object.entries({ [kind]: main, args, nodeArgs, env }).filter(([, value]) => Object.keys(value).length > 0),
  );
};

describe('a start script', () => {
  it.each([
    ['node server.js', { module: 'server.js' }],
    ['  node   server.js  ', { module: 'server.js' }],
    ['node ./server', { module: 'server.js' }],
    ['node lib', { module: 'lib/index.js' }],
    ['node lib/', { module: 'lib/index.js' }],
    ['node ./lib/../lib//main.js', { module: 'lib/main.js' }],
    ['node .', { module: 'index.js' }],
    ['node ./', { module: 'index.js' }],
    ['node data', { module: 'data.json' }],
    ['node app.mjs --port 80 -v', { module: 'app.mjs', args: ['--port', '80', '-v'] }],
    ['node server.js "two words" \'$HOME\' ""', { module: 'server.js', args: ['two words', '$HOME', ''] }],
    ['node "a b.js"', { module: 'a b.js' }],
    ['node a\\ b.js', { module: 'a b.js' }],
    ['node server.js a"b"\'c\'d', { module: 'server.js', args: ['abcd'] }],
    [
      'node server.js "say \\"hi\\"" "back\\\\slash" "a\\b"',
      { module: 'server.js', args: ['say "hi"', 'back\\slash', 'a\\b'] },
    ],
    ['node server.js "a;b|c&d" \'(*)\' \\$5', { module: 'server.js', args: ['a;b|c&d', '(*)', '$5'] }],
    ['node server.js "it\'s"', { module: 'server.js', args: ["it's"] }],
    ['NODE_ENV=production node server.js', { module: 'server.js', env: { NODE_ENV: 'production' } }],
    ['A=1 B="2 3" C= node server.js D=4', { module: 'server.js', env: { A: '1', B: '2 3', C: '' }, args: ['D=4'] }],
    ['__proto__=1 node server.js', { module: 'server.js', env: Object.fromEntries([['__proto__', '1']]) }],
    [
      'cross-env NODE_ENV=production PORT=80 node server.js',
      { module: 'server.js', env: { NODE_ENV: 'production', PORT: '80' } },
    ],
    ['node --enable-source-maps server.js', { module: 'server.js', nodeArgs: ['--enable-source-maps'] }],
    ['node -r ./lib/main.js server.js', { module: 'server.js', nodeArgs: ['-r', './lib/main.js'] }],
    ['node --import=./app.mjs server.js', { module: 'server.js', nodeArgs: ['--import=./app.mjs'] }],
    [
      'node --import ./app.mjs --max-old-space-size=64 server.js x',
      {
        module: 'server.js',
        nodeArgs: ['--import', './app.mjs', '--max-old-space-size=64'],
        args: ['x'],
      },
    ],
    ['node --env-file .env -C dev server.js', { module: 'server.js', nodeArgs: ['--env-file', '.env', '-C', 'dev'] }],
    ['next start -p 80', { bin: 'next', args: ['start', '-p', '80'] }],
    ['HOST=0.0.0.0 fastify start', { bin: 'fastify', args: ['start'], env: { HOST: '0.0.0.0' } }],
    ['node missing.js', { module: 'missing.js' }],
    ...[
      '--unhandled-rejections strict',
      '--unhandled_rejections strict',
      '--max-http-header-size 65536',
      '--disable-warning DEP0040',
      '--dns-result-order ipv4first',
      '--title x',
      '--max-old-space-size=64',
      '--inspect',
    ].map((options): [string, object] => [
      `node ${options} server.js`,
      { module: 'server.js', nodeArgs: options.split(' ') },
    ]),
    ['node -- server.js', { module: 'server.js' }],
    ['nodejs server.js', { module: 'server.js' }],
    ['/usr/bin/node server.js', { module: 'server.js' }],
    ['env A=1 exec node server.js', { module: 'server.js', env: { A: '1' } }],
    ['A=1 cross-env B=2 node server.js', { module: 'server.js', env: { A: '1', B: '2' } }],
    ['node node_modules/x/y.js --z', { module: 'node_modules/x/y.js', args: ['--z'] }],
    ['./bin/www', { module: 'bin/www' }],
    ['node_modules/.bin/serve -l 80', { bin: 'serve', args: ['-l', '80'] }],
    ['./node_modules/.bin/serve', { bin: 'serve' }],
    ['npx serve build', { bin: 'serve', args: ['build'] }],
    ['npx --no-install -- serve -s', { bin: 'serve', args: ['-s'] }],
    ['npm exec serve -- -s', { bin: 'serve', args: ['-s'] }],
    ['yarn serve -s', { bin: 'serve', args: ['-s'] }],
    ['A=1 B="2 3" serve "a&&b"', { bin: 'serve', args: ['a&&b'], env: { A: '1', B: '2 3' } }],
    ['"A=1" x', { bin: 'A=1', args: ['x'] }],
    ['serve -l $PORT', { bin: 'serve', args: ['-l', [{ name: 'PORT', quoted: false }]] }],
    [
      'serve --port=${PORT:-80}',
      { bin: 'serve', args: [['--port=', { name: 'PORT', fallback: '80', quoted: false }]] },
    ],
    [
      'serve "tcp://$HOST:$PORT"',
      { bin: 'serve', args: [['tcp://', { name: 'HOST', quoted: true }, ':', { name: 'PORT', quoted: true }]] },
    ],
  ])('is understood: %s', (script, expected) => {
    expect(parse(script)).toEqual(expected);
  });

  it.each([
    ...[
      'node server.js && ',
      '&& node server.js',
      'node server.js || node app.mjs',
      'node server.js &',
      'node a.js; node b.js',
      'node server.js | tee log',
    ],
    ...[
      'node server.js > log',
      'node server.js 2>&1',
      'node server.js < input',
      '(node server.js)',
      'node *.js',
      'node server?.js',
    ],
    ...['node $MAIN', 'node server.js `date`', 'node server.js "`date`"', '$(which node) server.js'],
    ...['PORT=$X node server.js', 'node index.js\nnode server.js'],
  ])('%s needs a shell', (script) => {
    expect(() => parse(script)).toThrow(UsageError);
    expect(() => parse(script)).toThrow(/needs a shell, and there is none on the target: /);
  });

  it.each([
    ['nodemon server.js', 'nodemon starts programs that the target has not'],
    ['concurrently "node a" "node b"', 'concurrently starts programs'],
    ['npm --prefix web start', 'runs npm, which is not on the target'],
    ['npm ci', 'runs npm, which is not on the target'],
    ['npx -p serve serve', 'runs npx, which is not on the target'],
    ['npm run serve', 'runs the script "serve", and there is none'],
    ['node --test', 'runs tests (--test)'],
    ['node -i', 'starts a REPL (-i)'],
    ['node -', 'names no file to run'],
    ['node "server.js', 'unfinished quote'],
    ["node 'server.js", 'unfinished quote'],
    ['node server.js \\', 'unfinished quote'],
    ['', 'runs nothing'],
    ['   ', 'runs nothing'],
    ['A=1', 'runs nothing'],
    ['cross-env A=1', 'runs nothing'],
    ['node', 'names no file to run'],
    ['node --import', 'names no file to run'],
    ['node --enable-source-maps', 'names no file to run'],
    ['node -e "require(1)"', 'names no file to run'],
    ['node --eval=1', 'names no file to run'],
    ['node --print 1', 'names no file to run'],
  ])('%j is rejected: %s', (script, message) => {
    expect(() => parse(script)).toThrow(UsageError);
    expect(() => parse(script)).toThrow(message);
  });

  it('keeps the words of any quoting', () => {
    const quote = fc.constantFrom(
      (word: string) => `'${word.replaceAll("'", `'\\''`)}'`,
      (word: string) => `"${word.replace(/["\\$`]/g, '\\$&')}"`,
    );
    const word = fc.tuple(fc.string(), quote);
    fc.assert(
      fc.property(fc.array(word, { maxLength: 6 }), (words) => {
        expect(splitWords(words.map(([text, how]) => how(text)).join(' '))).toEqual(words.map(([text]) => text));
      }),
    );
  });

  it('gives words or a usage error for any text, quickly', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc
        .array(fc.constantFrom('node ', "'", '"', '\\', ' ', 'a', '=', '$', '`', '-', '\n'), { maxLength: 400 })
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (script) => {
        try {
          const start = parseStart(script, packed);
          expect([...start.args, ...start.nodeArgs].every((word) => typeof word === 'string')).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
        }
      }),
    );
    for (const long of ['a', '"', "'", '\\', '"a"', ' ', '\\a', "'a"]) {
      try {
        splitWords(long.repeat(50_000));
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
      }
    }
  });
});

describe('the application', () => {
  it.each([
    ['the start script first', { main: 'server.js', scripts: { start: 'node app.mjs' } }, FILES, 'app.mjs'],
    ['then main', { main: './lib', scripts: { test: 'x' } }, FILES, 'lib/index.js'],
    ['a main that is this folder', { main: './' }, FILES, 'index.js'],
    [
      'the start script of this folder, which is main',
      { main: 'lib/main', scripts: { start: 'node .' } },
      FILES,
      'lib/main.js',
    ],
    ['then index.js', {}, FILES, 'index.js'],
    ['then index.mjs', {}, ['server.js', 'index.mjs'], 'index.mjs'],
    ['then server.js', { scripts: {} }, ['server.js'], 'server.js'],
  ])('is %s', (_, manifest, files, main) => {
    expect(startOf(manifest, (path) => files.includes(path))).toMatchObject({ main: { kind: 'module', main } });
  });

  it('is the last of several commands and runs after the others', () => {
    const scripts = {
      prestart: 'node migrate',
      start: 'A=1 node --run seed && npm run serve -- --fast && echo',
      seed: 'node seed.js',
      preserve: 'node check.js',
      serve: 'cross-env B=2 node server.js --slow',
      postserve: 'node clean.js',
    };
    const plan = startOf({ scripts: { ...scripts, start: scripts.start.replace(' && echo', '') } }, packed);
    expect(plan.first.map((one) => ('main' in one ? one.main : one.bin))).toEqual(['migrate', 'seed.js', 'check.js']);
    expect(plan.leftOut).toEqual(['scripts.postserve is not run: node clean.js']);
    expect(plan.first[1]?.env).toEqual({ A: '1' });
    expect(plan.main).toMatchObject({ main: 'server.js', args: ['--slow', '--fast'], env: { B: '2' } });
  });

  it('cannot run itself', () => {
    const scripts = { start: 'npm run serve', serve: 'yarn start' };
    expect(() => startOf({ scripts }, packed)).toThrow('scripts run themselves: start → serve → start');
  });

  it('is nodeos.start if that is given', () => {
    const scripts = { prestart: 'tsc', start: 'nest start', 'start:prod': 'node server.js' };
    expect(startOf({ scripts, nodeos: { start: 'npm run start:prod' } }, packed)).toMatchObject({
      first: [],
      main: { main: 'server.js' },
      leftOut: [],
    });
  });

  it('must be named in one of these ways', () => {
    expect(() => startOf({}, () => false)).toThrow('neither scripts.start nor main');
  });
});
