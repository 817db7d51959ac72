// node scripts/node-tests compares the results of Node.js's own tests for two binaries. See docs/runtime.md.
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

const HELP = `Runs Node.js's own tests (${TESTS}) with two binaries of the same version, and prints where the outcomes differ. It
runs one test at a time, with both binaries at once. If the outcomes of a test differ, it runs the test again with each
binary in turn. All tests take 40 minutes or more.

  node scripts/node-tests --node FILE --against FILE [options]

  --node FILE      the binary to check
  --against FILE   the reference binary
  --only GLOB      run only tests with such a name, e.g. 'test-fs-*'; may be repeated
  --source FOLDER  the source of Node.js, which the tests write to (default: Debian's, fetched and unpacked)
  --timeout N      time limit of a test in seconds (default: 60)
  --again N        number of further runs of a test whose outcomes differ (default: 3)
  --results FILE   append each outcome to FILE as a line of JSON, and skip tests that are already in it
  --json           print lines of JSON; the last line is the summary
  -h, --help       print this

Exit status: 0 if no test differs steadily, 1 if one does, 2 wrong usage.

  node scripts/node-tests --node "$runtime/bin/node" --against /usr/bin/node --only 'test-fs-*'
  node scripts/node-tests --node A --against B --results outcomes.jsonl    # run it again to continue
`;

class UsageError extends Error {}

/** @param {string} line */
const log = (line) => process.stderr.write(`node-tests: ${line}\n`);

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
    throw new UsageError(`${error.message}; see --help`);
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
  for (const side of SIDES) log(`${side}: ${names[side]}, ${versionOf(names[side])}`);
  const source = await sourceFor(options.source);
  const results = await runAll(source, testsIn(source, options.only), { ...options, ...limits, names });
  const text = options.json ? JSON.stringify({ summary: summaryOf(results) }) : report(results);
  process.stdout.write(`${text}\n`);
  return results.some((result) => verdictOf(result) === 'differs') ? 1 : 0;
}

/** @param {string} name @param {string} value @param {number} minimum */
function wholeNumber(name, value, minimum) {
  if (!/^\d{1,6}$/.test(value) || Number(value) < minimum) {
    throw new UsageError(`--${name} ${value}: expected a whole number, at least ${minimum}`);
  }
  return Number(value);
}

/** @param {string} name @param {string | undefined} path */
function programOf(name, path) {
  if (path === undefined) throw new UsageError(`--${name} FILE is missing; see --help`);
  if (!existsSync(path)) throw new UsageError(`--${name} ${path}: there is no such file`);
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
    if (!existsSync(join(folder, TESTS))) throw new UsageError(`--source ${folder}: there is no ${TESTS} in it`);
    return resolve(folder);
  }
  setUp();
  const [{ Cache, fetchSource }, { NODE_TESTS }] = await Promise.all([
    import('@nodeos/engine'),
    import('../../test/bench/dist/sources.js'),
  ]);
  const archive = await fetchSource(new Cache(), NODE_TESTS, {
    signal: new AbortController().signal,
    progress: (line) => (/^(fetching|reading) /.test(line) ? log(line) : undefined), // omit the other output of apt
  });
  const source = mkdtempSync(join(tmpdir(), 'node-tests-'));
  process.once('exit', () => rmSync(source, { recursive: true, force: true, maxRetries: 3 }));
  execFileSync('tar', ['-xf', archive, '-C', source, '--strip-components=1', '--no-same-owner']);
  // Since Node.js 25, reading this global prints a warning, and many tests count warnings.
  const common = join(source, 'test/common/index.js');
  const text = readFileSync(common, 'utf8').replace('knownGlobals.add(globalThis.localStorage);', '');
  writeFileSync(common, text);
  return source;
}

/** @param {string} source @param {string[]} globs @returns {string[]} file names, in the order of the globs */
function testsIn(source, globs) {
  const files = readdirSync(join(source, TESTS)).filter((file) => /^test-.*\.m?js$/.test(file));
  const found = globs.flatMap((glob) => {
    const escaped = glob
      .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.');
    const matching = files.filter((file) => new RegExp(`^${escaped}(\\.m?js)?$`).test(file));
    if (matching.length === 0)
      throw new UsageError(`--only ${glob}: none of the ${files.length} tests has such a name`);
    return matching;
  });
  return [...new Set(found)];
}

/** @param {string} source @param {string[]} tests */
async function runAll(source, tests, { names, seconds, again, results: file, json }) {
  const binaries = { node: binaryOf(names.node, 1), against: binaryOf(names.against, 2) };
  const known = new Map((file ? resultsIn(file) : []).map((result) => [result.test, result]));
  const run = (side, test) => runTest(binaries[side], source, join(TESTS, test), seconds);
  let lastProgress = Date.now();
  const results = [];
  for (const test of tests) {
    const result = known.get(test) ?? (await runBoth(test, run, again));
    results.push(result);
    if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
    if (known.has(test)) continue;
    if (file) appendFileSync(file, `${JSON.stringify(result)}\n`);
    if (Date.now() - lastProgress < PROGRESS_MS) continue;
    lastProgress = Date.now();
    const different = results.filter((each) => verdictOf(each) === 'differs').length;
    log(`${results.length} of ${tests.length}, ${different} differ; ${test}`);
  }
  return results;
}

/** Runs both at once, under the same load. If they differ, runs each in turn, so that neither disturbs the other. */
async function runBoth(test, run, times) {
  const [node, against] = await Promise.all([run('node', test), run('against', test)]);
  if (!differs({ node, against })) return { test, node, against };
  const again = [];
  for (let i = 0; i < times; i++) again.push({ node: await run('node', test), against: await run('against', test) });
  return { test, node, against, again };
}

/** The results in a file. Ends and ignores an incomplete line of an interrupted run. @param {string} file */
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
  log(error.message);
  for (const line of error.lines ?? []) process.stderr.write(`  ${line}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
