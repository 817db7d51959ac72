// Runs one of Node.js's own tests with one binary, like upstream's tools/test.py does.
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { clearTimeout, setImmediate } from 'node:timers';

/** The number of characters that are kept of a test's output, from its end. */
const MAX_OUTPUT = 64 * 1024;
/** Variables that would change how Node.js behaves, or reveal that another program runs its tests. */
const HIDDEN_VARIABLES = /^(NODE_|npm_|TEST_|LD_|NO_COLOR$|FORCE_COLOR$)/;
/** Node.js's exit status for an unknown option. */
const BAD_OPTION = 9;

/**
 * @typedef {object} Outcome
 * @property {'pass' | 'skip' | 'fail' | 'timeout' | 'crash'} kind
 * @property {string} reason one line, without details that change from run to run
 * @property {number} ms
 */

/** @typedef {{ program: string, id: string, refused: Set<string> }} Binary refused: options unknown to the binary */

/** @type {Set<number>} the process groups of the running tests */
const running = new Set();

/** @param {string} program @param {number} number unique for each binary @returns {Binary} */
export function binaryOf(program, number) {
  // The tests use the id in the names of folders and sockets, so it must be unique on this machine.
  return { program, id: `${process.pid}${number}`, refused: new Set() };
}

/** Kills the running tests and the processes that they started. */
export function endTests() {
  for (const pid of running) endGroup(pid);
}

/**
 * @param {Binary} binary
 * @param {string} top the source of Node.js
 * @param {string} test its path below `top`
 * @param {number} seconds the limit
 * @returns {Promise<Outcome>}
 */
export async function runTest(binary, top, test, seconds) {
  const { flags, env } = metadataOf(readFileSync(join(top, test), 'utf8'));
  for (;;) {
    const args = [...flags.filter((flag) => !binary.refused.has(flag)), join(top, test)];
    const ended = await runNode(binary, { top, args, env, seconds });
    const [, refused] = /^\S+: bad option: (\S+)$/m.exec(ended.output) ?? [];
    const dropped = refused !== undefined && args.includes(refused);
    if (ended.status !== BAD_OPTION || !dropped) return outcomeOf(ended, [dirname(binary.program), top]);
    binary.refused.add(refused);
  }
}

/** The options and variables that a test requests in its comments. @param {string} source */
function metadataOf(source) {
  /** @param {string} name */
  const valuesOf = (name) => new RegExp(`^// ${name}:(.*)$`, 'm').exec(source)?.[1]?.trim().split(/\s+/) ?? [];
  return { flags: valuesOf('Flags'), env: Object.fromEntries(valuesOf('Env').map((word) => word.split('='))) };
}

/** @typedef {{ status: number | null, signal: string | null, timedOut: boolean, output: string, ms: number }} Ended */

/**
 * @param {Binary} binary
 * @param {{ top: string, args: string[], env: Record<string, string>, seconds: number }} options
 * @returns {Promise<Ended>}
 */
function runNode({ program, id }, { top, args, env, seconds }) {
  const host = Object.entries(process.env).filter(([name]) => !HIDDEN_VARIABLES.test(name));
  // Without NODE_SKIP_FLAG_CHECK, a test whose option was dropped would restart itself with that option.
  const fixed = { NODE_TEST_KNOWN_GLOBALS: '0', NODE_SKIP_FLAG_CHECK: '1', TEST_PARALLEL: '1', TEST_THREAD_ID: id };
  const begun = Date.now();
  const child = spawn(program, args, {
    cwd: top,
    detached: true, // a process group, so that all processes of the test can be killed
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...Object.fromEntries(host), ...env, ...fixed },
  });
  const { pid } = child;
  if (pid !== undefined) running.add(pid);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream
      .setEncoding('utf8')
      .on('data', (/** @type {string} */ text) => (output = (output + text).slice(-MAX_OUTPUT)));
  }
  let timedOut = false;
  const limit = setTimeout(() => {
    timedOut = true;
    endGroup(pid);
  }, seconds * 1000);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status, signal) => {
      const ms = Date.now() - begun;
      clearTimeout(limit);
      endGroup(pid);
      running.delete(pid);
      // Read only what is in the pipes now: a process that left the group may hold them open.
      setImmediate(() => {
        for (const stream of [child.stdout, child.stderr]) stream.destroy();
        rmSync(join(top, 'test', `.tmp.${id}`), { recursive: true, force: true, maxRetries: 3 });
        resolve({ status, signal, timedOut, output, ms });
      });
    });
  });
}

/** @param {number | undefined} pid */
function endGroup(pid) {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** @param {Ended} ended @param {string[]} paths @returns {Outcome} */
function outcomeOf({ status, signal, timedOut, output, ms }, paths) {
  const skipped = /^1\.\.0 # Skipped: (.*)$/m.exec(output);
  if (timedOut) return { kind: 'timeout', reason: '', ms };
  if (signal) return { kind: 'crash', reason: `${signal} ${errorIn(output, paths)}`.trim(), ms };
  if (status !== 0) return { kind: 'fail', reason: `status ${status}: ${errorIn(output, paths)}`, ms };
  return skipped ? { kind: 'skip', reason: tidy(skipped[1] ?? '', paths), ms } : { kind: 'pass', reason: '', ms };
}

/** The first line that names an error, otherwise the last line. @param {string} output @param {string[]} paths */
function errorIn(output, paths) {
  const lines = output.split('\n').map((line) => line.trim());
  const named = lines.find((line) => /^(# +)?(\w*(Error|Exception)\b|Assertion|Fatal|FATAL|Mismatched)/.test(line));
  return tidy(named ?? lines.findLast((line) => line !== '') ?? '', paths);
}

/** Removes details that differ between runs and between binaries. @param {string} line @param {string[]} paths */
function tidy(line, paths) {
  return paths
    .reduce((text, path) => text.replaceAll(path, '…'), line)
    .replace(/0x[\da-f]+|\d{3,}|\d+\.\d+/g, 'N') // addresses, process ids, times
    .slice(0, 160);
}
