/** The runner of Node.js's own tests, on a few tests of ours: what it calls an outcome, and a difference. */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../../scripts/node-tests', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'node-tests-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const TESTS: Record<string, string> = {
  'test-passes.js': '',
  'test-skips.js': "console.log('1..0 # Skipped: there is no such thing here')",
  'test-fails.js': "throw new RangeError('at 0x1234 in process 4711')",
  'test-crashes.js': 'process.abort()',
  'test-hangs.js': `require('fs').writeFileSync('child' + (process.env.OTHER ?? 0), String(require('child_process').spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)']).pid)); setInterval(() => 0, 1000)`,
  'test-options.js': '// Flags: --expose-gc --no-such-option\nif (!globalThis.gc) throw new Error(process.execArgv)',
  'test-variables.js': "// Env: COLOUR=blue\nif (process.env.COLOUR !== 'blue') process.exit(1)",
  'test-module.mjs': "import 'node:fs'; if (process.env.NODE_OPTIONS) process.exit(1)",
  'test-other.js': 'if (process.env.OTHER) throw new Error(`different`)',
  'test-wavers.js': '',
  'no-test.js': 'throw new Error()',
};
const source = join(scratch, 'source');
mkdirSync(join(source, 'test/parallel'), { recursive: true });
for (const [name, text] of Object.entries(TESTS)) writeFileSync(join(source, 'test/parallel', name), text);

/** The same Node.js, which a test can tell apart. */
const other = join(scratch, 'other');
writeFileSync(other, `#!/bin/sh\nOTHER=1 exec '${process.execPath}' "$@"\n`);
chmodSync(other, 0o755);

const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [SCRIPT, '--source', source, ...args], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '--no-deprecation' },
  });
const both = ['--node', other, '--against', process.execPath];

/** What `test-hangs.js` wrote with each binary: the process that it started. */
const CHILDREN = ['child0', 'child1'].map((name) => join(source, name));
const pidIn = (path: string): number => (existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0);
const childrenEnd = (): Promise<void> =>
  expect.poll(() => CHILDREN.filter((path) => isRunning(pidIn(path))), { timeout: 10_000 }).toEqual([]);

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

interface Line {
  readonly test: string;
  readonly node: { readonly kind: string; readonly reason: string };
  readonly against: { readonly kind: string };
  readonly again?: readonly unknown[];
  readonly summary?: unknown;
}

describe("the runner of Node.js's own tests", { timeout: 180_000 }, () => {
  it('tells the outcomes of each binary, and which tests differ', () => {
    const { status, stdout, stderr } = run(...both, '--timeout', '10', '--again', '1', '--json');
    expect(status, stderr).toBe(1);
    const lines = stdout.trim().split('\n').map((line) => JSON.parse(line) as Line); // prettier-ignore
    const outcomes = lines.slice(0, -1).map(({ test, node, against }) => [test, node.kind, against.kind]);
    expect(Object.fromEntries(outcomes.map(([test, ...kinds]) => [test, kinds]))).toEqual({
      'test-passes.js': ['pass', 'pass'],
      'test-skips.js': ['skip', 'skip'],
      'test-fails.js': ['fail', 'fail'],
      'test-crashes.js': ['crash', 'crash'],
      'test-hangs.js': ['timeout', 'timeout'],
      'test-options.js': ['pass', 'pass'],
      'test-variables.js': ['pass', 'pass'],
      'test-module.mjs': ['pass', 'pass'],
      'test-other.js': ['fail', 'pass'],
      'test-wavers.js': ['pass', 'pass'],
    });
    const reasons = Object.fromEntries(lines.slice(0, -1).map(({ test, node }) => [test, node.reason]));
    expect(reasons['test-fails.js']).toBe('status 1: RangeError: at N in process N');
    expect(reasons['test-skips.js']).toBe('there is no such thing here');
    expect(reasons['test-crashes.js']).toMatch(/^SIGABRT/);
    expect(lines.find(({ test }) => test === 'test-other.js')?.again).toHaveLength(1);
    expect(lines.at(-1)?.summary).toMatchObject({
      tests: 10,
      counts: { node: { pass: 5, skip: 1, fail: 2, timeout: 1, crash: 1 }, against: { pass: 6, fail: 1 } },
      differs: ['test-other.js'],
      unsteady: [],
    });
  });

  it('ends what a test started when its time is over', async () => {
    await childrenEnd();
    expect(readdirSync(join(source, 'test'))).toEqual(['parallel']);
  });

  it('does not blame a binary for a test that fails now and then', () => {
    rmSync(join(source, 'wavered'), { recursive: true, force: true });
    mkdirSync(join(source, 'wavered'));
    const text = `const fs = require('fs'); if (process.env.OTHER && fs.existsSync('wavered')) { fs.rmdirSync('wavered'); process.exit(1) }`;
    writeFileSync(join(source, 'test/parallel/test-wavers.js'), text);
    const { status, stdout } = run(...both, '--only', 'test-wavers', '--again', '1');
    expect(status).toBe(0);
    expect(stdout).toContain('    node     fail, pass (status 1: )\n    against  pass, pass\n');
    expect(stdout).toMatch(/1 tests: 0 differ, 1 are not steady\n$/);
  });

  it('goes on where it was ended, and leaves nothing running', async () => {
    const file = join(scratch, 'outcomes.jsonl');
    const args = [
      SCRIPT,
      '--source',
      source,
      ...both,
      '--results',
      file,
      '--only',
      'test-passes',
      '--only',
      'test-hangs',
    ];
    for (const path of CHILDREN) rmSync(path);
    const child = spawn(process.execPath, args, { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    while (!CHILDREN.every((path) => pidIn(path) > 0)) await sleep(50);
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    await childrenEnd();

    const half = '{"test":"test-hangs.js","node"';
    const passed = readFileSync(file, 'utf8');
    expect(passed).toMatch(/^\{"test":"test-passes.js".*\}\n$/);
    writeFileSync(join(source, 'test/parallel/test-passes.js'), 'process.exit(1)');
    writeFileSync(file, passed + half);
    const { stdout } = run(...both, '--results', file, '--only', 'test-passes', '--only', 'test-skips');
    expect(stdout).toMatch(/^node +1 +1 +0 +0 +0$/m);
    expect(readFileSync(file, 'utf8').split('\n')).toHaveLength(4);
  });

  it('says what is wrong with the command line', () => {
    const wrong = (...args: string[]): unknown[] => {
      const { status, stderr } = run(...args);
      return [status, stderr.trim().split('\n').at(-1)];
    };
    expect(wrong()).toEqual([2, 'node-tests: --node FILE is missing; see --help']);
    expect(wrong(...both, '--timeout', 'x')[1]).toMatch('--timeout x: expected a whole number, at least 1');
    expect(wrong(...both, '--only', 'fs-*')[1]).toMatch(/--only fs-\*: none of the 10 tests has such a name$/);
    expect(wrong('--node', '/none', '--against', other)[1]).toMatch('--node /none: there is no such file');
    expect(wrong(...both, '--source', scratch)[1]).toMatch('there is no test/parallel in it');
    expect(wrong('--node', SCRIPT, '--against', other)).toEqual([1, expect.stringContaining('does not run here')]);
    expect(wrong('--nod')[0]).toBe(2);
  });
});
