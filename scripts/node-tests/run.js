// One of Node.js's own tests with one binary, as upstream's tools/test.py runs it.
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { clearTimeout, setImmediate } from 'node:timers';

/** As much of what a test prints as is kept, from its end. */
const KEPT = 64 * 1024;
/** What would change what Node.js does, or say that somebody else runs its tests. */
const NOT_FOR_TESTS = /^(NODE_|npm_|TEST_|LD_|NO_COLOR$|FORCE_COLOR$)/;
/** Node.js's exit status for an option that it does not know. */
const BAD_OPTION = 9;

/**
 * @typedef {object} Outcome
 * @property {'pass' | 'skip' | 'fail' | 'timeout' | 'crash'} kind
 * @property {string} reason in a line, without what changes from run to run
 * @property {number} ms
 */

/** @typedef {{ program: string, id: string, refused: Set<string> }} Binary refused: options that it does not know */

/** @type {Set<number>} the process groups of the tests that run */
const running = new Set();

/** @param {string} program @param {number} number no other binary has it @returns {Binary} */
export function binaryOf(program, number) {
  // The tests put it into the names of their folders and sockets: nobody else on this machine may have it.
  return { program, id: `${process.pid}${number}`, refused: new Set() };
}

/** Ends the tests that run, and what they started. */
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

/** The options and variables that a test asks for in its comments. @param {string} source */
function metadataOf(source) {
  /** @param {string} name */
  const words = (name) => new RegExp(`^// ${name}:(.*)$`, 'm').exec(source)?.[1]?.trim().split(/\s+/) ?? [];
  return { flags: words('Flags'), env: Object.fromEntries(words('Env').map((word) => word.split('='))) };
}

/** @typedef {{ status: number | null, signal: string | null, late: boolean, output: string, ms: number }} Ended */

/**
 * @param {Binary} binary
 * @param {{ top: string, args: string[], env: Record<string, string>, seconds: number }} how
 * @returns {Promise<Ended>}
 */
function runNode({ program, id }, { top, args, env, seconds }) {
  const host = Object.entries(process.env).filter(([name]) => !NOT_FOR_TESTS.test(name));
  // A test whose option was dropped would start itself again with it (NODE_SKIP_FLAG_CHECK).
  const fixed = { NODE_TEST_KNOWN_GLOBALS: '0', NODE_SKIP_FLAG_CHECK: '1', TEST_PARALLEL: '1', TEST_THREAD_ID: id };
  const begun = Date.now();
  const child = spawn(program, args, {
    cwd: top,
    detached: true, // a process group, so that what the test leaves behind can be ended
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...Object.fromEntries(host), ...env, ...fixed },
  });
  const { pid } = child;
  if (pid !== undefined) running.add(pid);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (/** @type {string} */ text) => (output = (output + text).slice(-KEPT)));
  }
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    endGroup(pid);
  }, seconds * 1000);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status, signal) => {
      const ms = Date.now() - begun;
      clearTimeout(limit);
      endGroup(pid);
      running.delete(pid);
      // What waits in the pipes is read, and no more: a process that left the group may hold them open.
      setImmediate(() => {
        for (const stream of [child.stdout, child.stderr]) stream.destroy();
        rmSync(join(top, 'test', `.tmp.${id}`), { recursive: true, force: true, maxRetries: 3 });
        resolve({ status, signal, late, output, ms });
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
function outcomeOf({ status, signal, late, output, ms }, paths) {
  const skipped = /^1\.\.0 # Skipped: (.*)$/m.exec(output);
  if (late) return { kind: 'timeout', reason: '', ms };
  if (signal) return { kind: 'crash', reason: `${signal} ${errorIn(output, paths)}`.trim(), ms };
  if (status !== 0) return { kind: 'fail', reason: `status ${status}: ${errorIn(output, paths)}`, ms };
  return skipped ? { kind: 'skip', reason: tidy(skipped[1] ?? '', paths), ms } : { kind: 'pass', reason: '', ms };
}

/** The first line that names an error, else the last one. @param {string} output @param {string[]} paths */
function errorIn(output, paths) {
  const lines = output.split('\n').map((line) => line.trim());
  const named = lines.find((line) => /^(# +)?(\w*(Error|Exception)\b|Assertion|Fatal|FATAL|Mismatched)/.test(line));
  return tidy(named ?? lines.findLast((line) => line !== '') ?? '', paths);
}

/** Without what changes from run to run and from binary to binary. @param {string} line @param {string[]} paths */
function tidy(line, paths) {
  return paths
    .reduce((text, path) => text.replaceAll(path, '…'), line)
    .replace(/0x[\da-f]+|\d{3,}|\d+\.\d+/g, 'N') // addresses, process ids, times
    .slice(0, 160);
}
