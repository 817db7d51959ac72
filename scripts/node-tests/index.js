// node scripts/node-tests: where do two binaries answer differently to Node.js's own tests? See docs/runtime.md.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { setUp } from '../../bin/lib/setup.js';
import { differs, report, SIDES, summaryOf, verdictOf } from './report.js';
import { binaryOf, endTests, runTest } from './run.js';

const TESTS = 'test/parallel';
const PROGRESS_MS = 30_000;

const HELP = `Runs Node.js's own tests (${TESTS}) with two binaries of one version, one test at a time with both at once, and says
where their outcomes differ. A test that differs is run again with each in turn. All of them take 40 minutes or more.

  node scripts/node-tests --node FILE --against FILE [options]

  --node FILE      the binary to judge
  --against FILE   the binary that is believed
  --only GLOB      these tests, by name, as 'test-fs-*'; may be repeated
  --source FOLDER  Node.js's source, which the tests write to; without it that of Debian, fetched and unpacked
  --timeout N      seconds that a test may take (60)
  --again N        how often a test is run again whose outcomes differ (3)
  --results FILE   writes each outcome to it as a line of JSON, and does not run again what is in it
  --json           lines of JSON on standard output, the last with the summary
  -h, --help       this text

The exit status is 0 if no test differs steadily, 1 if one does, 2 if the command line is wrong.

  node scripts/node-tests --node "$runtime/bin/node" --against /usr/bin/node --only 'test-fs-*'
  node scripts/node-tests --node A --against B --results outcomes.jsonl    # the same again goes on where it was ended
`;

class Usage extends Error {}

/** @param {string} line */
const tell = (line) => process.stderr.write(`node-tests: ${line}\n`);

/** @param {string[]} args */
function optionsOf(args) {
  const string = { type: 'string' };
  const { values } = parse(() =>
    parseArgs({
      args,
      options: {
        node: string,
        against: string,
        only: { ...string, multiple: true, default: ['*'] },
        source: string,
        timeout: { ...string, default: '60' },
        again: { ...string, default: '3' },
        results: string,
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h' },
      },
    }),
  );
  return values;
}

/** @template T @param {() => T} read @returns {T} */
function parse(read) {
  try {
    return read();
  } catch (error) {
    throw new Usage(`${error.message}; see --help`);
  }
}

/** @param {ReturnType<typeof optionsOf>} options @returns {Promise<number>} */
async function main(options) {
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const limits = { seconds: wholeNumber('timeout', options.timeout, 1), again: wholeNumber('again', options.again, 0) };
  const names = { node: programOf('node', options.node), against: programOf('against', options.against) };
  for (const side of SIDES) tell(`${side}: ${names[side]}, ${versionOf(names[side])}`);
  const source = await sourceFor(options.source);
  const results = await runAll(source, testsIn(source, options.only), { ...options, ...limits, names });
  const text = options.json ? JSON.stringify({ summary: summaryOf(results) }) : report(results);
  process.stdout.write(`${text}\n`);
  return results.some((result) => verdictOf(result) === 'differs') ? 1 : 0;
}

/** @param {string} name @param {string} value @param {number} least */
function wholeNumber(name, value, least) {
  if (!/^\d{1,6}$/.test(value) || Number(value) < least) {
    throw new Usage(`--${name} ${value}: expected a whole number, at least ${least}`);
  }
  return Number(value);
}

/** @param {string} name @param {string | undefined} path */
function programOf(name, path) {
  if (path === undefined) throw new Usage(`--${name} FILE is missing; see --help`);
  if (!existsSync(path)) throw new Usage(`--${name} ${path}: there is no such file`);
  return resolve(path);
}

/** @param {string} program */
function versionOf(program) {
  try {
    return execFileSync(program, ['-p', 'process.version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  } catch (error) {
    const [reason] = (String(error.stderr ?? '').trim() || error.message).split('\n');
    throw new Error(`${program} does not run here: ${reason}`, { cause: error });
  }
}

/** @param {string | undefined} folder */
async function sourceFor(folder) {
  if (folder !== undefined) {
    if (!existsSync(join(folder, TESTS))) throw new Usage(`--source ${folder}: there is no ${TESTS} in it`);
    return resolve(folder);
  }
  setUp();
  const [{ Cache, fetchSource }, { NODE_TESTS }] = await Promise.all([
    import('@nodeos/engine'),
    import('../../test/bench/dist/sources.js'),
  ]);
  const archive = await fetchSource(new Cache(), NODE_TESTS, {
    signal: new AbortController().signal,
    progress: (line) => (/^(fetching|reading) /.test(line) ? tell(line) : undefined), // not every word of apt
  });
  const source = mkdtempSync(join(tmpdir(), 'node-tests-'));
  process.once('exit', () => rmSync(source, { recursive: true, force: true, maxRetries: 3 }));
  execFileSync('tar', ['-xf', archive, '-C', source, '--strip-components=1', '--no-same-owner']);
  // To read this global is warned of since Node.js 25, and many tests count warnings.
  const common = join(source, 'test/common/index.js');
  const text = readFileSync(common, 'utf8').replace('knownGlobals.add(globalThis.localStorage);', '');
  writeFileSync(common, text);
  return source;
}

/** @param {string} source @param {string[]} globs @returns {string[]} names of files, in the order of the globs */
function testsIn(source, globs) {
  const files = readdirSync(join(source, TESTS)).filter((file) => /^test-.*\.m?js$/.test(file));
  const found = globs.flatMap((glob) => {
    const escaped = glob
      .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.');
    const matching = files.filter((file) => new RegExp(`^${escaped}(\\.m?js)?$`).test(file));
    if (matching.length === 0) throw new Usage(`--only ${glob}: none of the ${files.length} tests has such a name`);
    return matching;
  });
  return [...new Set(found)];
}

/** @param {string} source @param {string[]} tests */
async function runAll(source, tests, { names, seconds, again, results: file, json }) {
  const binaries = { node: binaryOf(names.node, 1), against: binaryOf(names.against, 2) };
  const known = new Map((file ? resultsIn(file) : []).map((result) => [result.test, result]));
  const run = (side, test) => runTest(binaries[side], source, join(TESTS, test), seconds);
  let told = Date.now();
  const results = [];
  for (const test of tests) {
    const result = known.get(test) ?? (await runBoth(test, run, again));
    results.push(result);
    if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
    if (known.has(test)) continue;
    if (file) appendFileSync(file, `${JSON.stringify(result)}\n`);
    if (Date.now() - told < PROGRESS_MS) continue;
    told = Date.now();
    const different = results.filter((each) => verdictOf(each) === 'differs').length;
    tell(`${results.length} of ${tests.length}, ${different} differ; ${test}`);
  }
  return results;
}

/** Both at once, under the same load; if they differ, each in turn, so that neither disturbs the other. */
async function runBoth(test, run, times) {
  const [node, against] = await Promise.all([run('node', test), run('against', test)]);
  if (!differs({ node, against })) return { test, node, against };
  const again = [];
  for (let i = 0; i < times; i++) again.push({ node: await run('node', test), against: await run('against', test) });
  return { test, node, against, again };
}

/** What an interrupted run has half written is not a line of JSON. @param {string} file */
function resultsIn(file) {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, 'utf8');
  if (!/(^|\n)$/.test(text)) appendFileSync(file, '\n');
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
}

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
]) {
  process.once(signal, () => {
    endTests();
    process.exit(status);
  });
}

try {
  process.exitCode = await main(optionsOf(process.argv.slice(2)));
} catch (error) {
  tell(error.message);
  for (const line of error.lines ?? []) process.stderr.write(`  ${line}\n`);
  process.exitCode = error instanceof Usage ? 2 : 1;
}
