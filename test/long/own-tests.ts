/** The project's own tests, run from a test: under another Node.js, or longer. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../support.js';

const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');
const MAX_OUTPUT = 64 << 20;

interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
    readonly message: string;
  }[];
}

export interface OwnRun {
  /** The program `node`. Default: the one that runs now. */
  readonly node?: string;
  /** What is added to the environment. */
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * @param args those of `vitest run`
 * @returns how many files were run; the names of the tests that failed, and the errors of files that could not be loaded
 */
export async function runOwnTests(
  args: readonly string[],
  { node = process.execPath, env = {} }: OwnRun = {},
): Promise<{ files: number; failed: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-own-tests-'));
  try {
    const report = join(folder, 'report.json');
    const command = [VITEST, 'run', '--reporter=json', `--outputFile=${report}`, ...args];
    const options = { cwd: ROOT, env: { ...process.env, ...env }, maxBuffer: MAX_OUTPUT };
    await promisify(execFile)(node, command, options).catch(() => undefined); // the report says what failed
    const { testResults } = JSON.parse(await readFile(report, 'utf8')) as Report;
    const failed = testResults.flatMap(({ assertionResults, message }) => [
      ...assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
      ...(assertionResults.length === 0 ? [message] : []),
    ]);
    return { files: testResults.length, failed };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
