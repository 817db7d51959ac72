/** Tests that need more than one process or a separate disk. The processes run the compiled engine. */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { isRunning, namesIn, tempDir, until } from './helpers.js';

const packageDir = fileURLToPath(new URL('..', import.meta.url));
const fixture = (name: string): string => join(packageDir, 'test', 'fixtures', name);
const isRoot = process.getuid?.() === 0;

beforeAll(async () => {
  const tsc = join(packageDir, '..', '..', 'node_modules', 'typescript', 'bin', 'tsc');
  await promisify(execFile)(process.execPath, [tsc, '-b', packageDir]);
}, 120_000);

interface Outcome {
  readonly text?: string;
  readonly error?: string;
  readonly cached?: boolean;
  readonly lines: readonly string[];
}

function start(args: readonly string[]): { child: ChildProcess; outcome: Promise<Outcome> } {
  const child = spawn(process.execPath, [fixture('build.js'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const outcome = new Promise<Outcome>((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.on('close', () => {
      try {
        resolve(JSON.parse(text) as Outcome);
      } catch (error) {
        reject(error instanceof Error ? error : new Error(text));
      }
    });
  });
  outcome.catch(() => undefined); // the process that is killed fails
  return { child, outcome };
}

it('two concurrent builds run a step once and both get its output', async () => {
  const dir = tempDir();
  const cache = join(dir, 'cache');
  const both = await Promise.all([1, 2].map(() => start([cache, 'once', dir]).outcome));
  expect(readFileSync(join(dir, 'runs'), 'utf8')).toBe('run\n');
  expect(both[0]?.text).toMatch(/^\d+$/);
  expect(both[0]?.text).toBe(both[1]?.text);
  const waited = both.filter(({ lines }) => lines.includes('waiting for another process that is building it'));
  const lateComer = both.filter(({ cached }) => cached === true);
  expect(waited.length + lateComer.length).toBe(1);
  expect([namesIn(join(cache, 'tmp')), namesIn(join(cache, 'locks'))]).toEqual([[], []]);
});

it('a killed build leaves no process, and the next one takes over its lock and cleans up', async () => {
  const dir = tempDir();
  const cache = join(dir, 'cache');
  const killed = start([cache, 'slow', dir]);
  await until(() => existsSync(join(dir, 'pid')), 'the step');
  const pid = Number(readFileSync(join(dir, 'pid'), 'utf8'));
  expect(isRunning(pid)).toBe(true);
  killed.child.kill('SIGKILL');
  expect(await killed.outcome.catch(() => 'killed')).toBe('killed');
  expect(namesIn(join(cache, 'tmp'))).toHaveLength(1);
  expect(namesIn(join(cache, 'steps'))).toEqual([]);
  // Only Linux with util-linux tells a program that its parent has ended.
  if (existsSync('/usr/bin/setpriv') && !existsSync('/etc/alpine-release')) {
    await until(() => !isRunning(pid), 'the program of the killed build to end');
  } else process.kill(pid);

  writeFileSync(join(dir, 'quick'), '');
  const next = await start([cache, 'slow', dir]).outcome;
  expect(next.text).toBe('done');
  expect(next.lines).toContain('waiting for another process that is building it'); // until the lock was stale
  expect([namesIn(join(cache, 'tmp')), namesIn(join(cache, 'locks'))]).toEqual([[], []]);
});

it('remove() removes folders that their owner cannot write to', (context) => {
  const dir = tempDir();
  chmodSync(dir, 0o777);
  const nobody = isRoot ? { uid: 65534, gid: 65534 } : {};
  const readable = spawnSync(
    process.execPath,
    ['-e', `fs.accessSync(${JSON.stringify(fixture('remove.js'))})`],
    nobody,
  );
  if (readable.status !== 0) context.skip('run as root, and nobody else may read the repository');
  const done = spawnSync(process.execPath, [fixture('remove.js'), dir], { ...nobody, encoding: 'utf8' });
  expect(done.stderr + done.stdout).toBe('removed\n');
});

describe('a cache on a separate disk', () => {
  interface Result {
    readonly value?: unknown;
    readonly error?: {
      readonly name: string;
      readonly message: string;
      readonly hint: string;
      readonly lines: string[];
    };
  }
  interface Results {
    readonly [name: string]: Result;
    readonly small: Result;
    readonly written: Result;
    readonly tool: Result;
    readonly fetched: Result;
    readonly again: Result;
    readonly manifest: Result;
    readonly readOnlyPresent: Result;
    readonly readOnlyMissing: Result;
    readonly readOnlyFetched: Result;
  }
  const MOUNT = 'mount -t tmpfs -o size=4m tmpfs "$0"';

  it('reports a full and a read-only disk with advice, and never publishes an unfinished output', async (context) => {
    const dir = join(tempDir(), 'cache');
    mkdirSync(dir);
    // Runs in a mount namespace, so the disk disappears with the process. Users other than root also need a user
    // namespace.
    const namespace = ['unshare', isRoot ? '-m' : '-Urm', 'sh', '-c'] as const;
    const [unshare, ...words] = namespace;
    if (spawnSync(unshare, [...words, MOUNT, dir]).status !== 0) {
      context.skip('no tmpfs can be mounted, neither as root nor in a user namespace');
    }
    const script = `${MOUNT} && exec "$1" "$2" "$0"`;
    const args = [...words, script, dir, process.execPath, fixture('disk.js')];
    const { stdout } = await promisify(execFile)(unshare, args, { env: { ...process.env, NO_PROXY: '127.0.0.1' } });
    const results = JSON.parse(stdout) as Results;
    const space = expect.stringMatching(/^no space left on the device; free some .*NODEOS_CACHE/) as string;
    const readOnly = expect.stringMatching(/read-only filesystem; set NODEOS_CACHE/) as string;
    const failed = (message: RegExp, hint: string): object => ({
      error: { name: 'NodeosError', message: expect.stringMatching(message) as string, hint },
    });
    const nothingButSmall = { steps: ['small'], tmp: [], locks: [] };

    expect(results.small).toEqual({ value: false });
    expect(results.written).toMatchObject(failed(/^written: ENOSPC/, space));
    expect(results.tool).toMatchObject(failed(/^tool: dd .*: exit status 1$/, space));
    expect(results.fetched).toMatchObject(failed(/^cannot fetch big 1: ENOSPC/, space));
    expect(results['sources']).toEqual(['sha256-DIGEST.part']); // kept for resuming
    expect(results['afterFull']).toEqual(nothingButSmall);
    expect(results['entries']).toBe(1);
    expect(results.again).toEqual({ value: false });
    expect(results.manifest).toMatchObject(failed(/^manifest: cannot write to the cache at .*: ENOSPC/, space));
    expect(results['afterManifest']).toEqual({ ...nothingButSmall, steps: ['again', 'small'] });

    expect(results.readOnlyPresent).toEqual({ value: true });
    expect(results.readOnlyMissing).toMatchObject(failed(/^missing: cannot lock .*EROFS/, readOnly));
    expect(results.readOnlyFetched).toMatchObject(failed(/^cannot (fetch big 1|write to the cache).*EROFS/, readOnly));
  });
});
