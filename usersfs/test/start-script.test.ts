import { UsageError } from '@nodeos/build';
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
  ])('%s', (script, expected) => {
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
  ])('%j is refused: %s', (script, message) => {
    expect(() => parse(script)).toThrow(UsageError);
    expect(() => parse(script)).toThrow(message);
  });

  it('quoted in any way gives the words that were quoted', () => {
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

  it('may be anything: words or a usage error, soon', () => {
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

describe('what is run', () => {
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

  it('is nothing without any of them', () => {
    expect(() => startOf({}, () => false)).toThrow('neither scripts.start nor main');
  });
});
