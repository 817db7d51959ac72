/** Programs of others, compiled for the target, in the guest: each with the tests that it comes with. */
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { application, LONG, nodeos } from '../support.js';
import { doubleConversion, outputsOf, posixTests, zlib } from './projects.js';

/** Tests of the suite that glibc 2.36 on an ordinary kernel does not pass either. */
const NOWHERE = `
  mmap/11-4 mmap/11-5 mmap/18-1 mmap/21-1 mmap/23-1 mmap/28-1 mmap/31-1 pthread_mutex_getprioceiling/1-1
  pthread_rwlock_rdlock/2-1 pthread_rwlock_rdlock/2-2 pthread_equal/2-1 sem_init/7-1`;

/** It is about the clock that a timeout is measured by: on an emulated processor it fails now and then. */
const TIMED = 'pthread_cond_init/1-2';

/**
 * Those that glibc passes. Of some the reason is known: they use a thread that has ended (pthread_detach/4-*,
 * pthread_join/6-2) or a key that nobody made (pthread_key_create/2-1), which musl does not forgive and need not. The
 * others were not looked into.
 */
const NOT_HERE = `
  pthread_attr_setdetachstate/2-1 pthread_attr_setschedpolicy/4-1 pthread_attr_setstacksize/2-1
  pthread_cancel/5-1 pthread_create/2-1 pthread_detach/1-1 pthread_detach/4-1 pthread_detach/4-2 pthread_join/6-2
  pthread_key_create/2-1 pthread_cond_init/1-3 pthread_mutex_init/1-2 pthread_mutex_init/3-2 sem_unlink/3-1
  sem_unlink/5-1 sigwaitinfo/6-1 strftime/2-1 pthread_rwlock_wrlock/3-1 sem_unlink/2-2 mmap/14-1
  pthread_cond_init/2-2`;

const KNOWN = `${NOWHERE} ${TIMED} ${NOT_HERE}`.trim().split(/\s+/);

/** Runs code in a guest that has the folder in /app/test. @returns what it resolves to */
async function inGuest(folder: string, body: string): Promise<unknown> {
  const app = await application({ 'main.js': '' });
  await cp(folder, join(app, 'test'), { recursive: true });
  const code = `(async () => {
    const { execFileSync, spawnSync, execFile } = require('child_process');
    process.chdir('/app/test');
    ${body}
  })().then((value) => console.log('RESULT ' + JSON.stringify(value)))`;
  const { status, stdout, stderr } = await nodeos('start', app, '--exec', code, '--timeout', '600', '-m', '512M');
  expect(status, stdout + stderr).toBe(0);
  return JSON.parse(/^RESULT (.*)$/m.exec(stdout)?.[1] ?? 'null');
}

describe('projects of others', { timeout: LONG }, () => {
  it('zlib passes the tests of its makefile: static, shared, with 64-bit offsets', async () => {
    const [output = ''] = await outputsOf(zlib);
    const seen = await inGuest(
      output,
      `const env = { LD_LIBRARY_PATH: '/app/test' };
      return ['', 'sh', '64'].map((kind) => {
        const input = 'hello world\\n';
        const packed = execFileSync('./minigzip' + kind, { input, env });
        const text = execFileSync('./minigzip' + kind, ['-d'], { input: packed, env }).toString();
        const { status, stdout } = spawnSync('./example' + kind, ['/tmp/foo.gz'], { env });
        return [text, status, /gzread\\(\\): hello, hello!/.test(stdout), /inflate with dictionary: hello, hello!/.test(stdout)];
      });`,
    );
    expect(seen).toEqual([1, 2, 3].map(() => ['hello world\n', 0, true, true]));
  });

  it('double-conversion, by CMake, passes its test suite', async () => {
    const [output = ''] = await outputsOf(doubleConversion);
    const seen = (await inGuest(
      output,
      `const env = { LD_LIBRARY_PATH: '/app/test' };
      return ['bignum', 'bignum-dtoa', 'conversions', 'diy-fp', 'dtoa', 'fast-dtoa', 'fixed-dtoa', 'ieee', 'strtod'].map((name) => {
        const { status, stdout, stderr } = spawnSync('./cctest', ['test-' + name], { env });
        return [name, status, status === 0 ? '' : String(stdout) + String(stderr)];
      });`,
    )) as [string, number, string][];
    expect(seen.filter(([, status]) => status !== 0)).toEqual([]);
    expect(seen).toHaveLength(9);
  });
});

/** Exit statuses of the suite (posixtest.h) by which a test says that it could not judge. */
const NO_VERDICT = [2, 4, 5];

describe('musl', { timeout: LONG }, () => {
  it('passes the Open POSIX Test Suite, but for what is known', async () => {
    const [output = ''] = await outputsOf(posixTests);
    const seen = (await inGuest(
      output,
      `const { readdirSync, statSync } = fs;
      const tests = readdirSync('.').filter((name) => statSync(name).isDirectory())
        .flatMap((name) => readdirSync(name).map((test) => name + '/' + test))
        .filter((test) => !${JSON.stringify(KNOWN)}.includes(test));
      const run = (test, timeout) => new Promise((resolve) => {
        const options = { timeout, killSignal: 'SIGKILL', cwd: '/tmp', encoding: 'buffer' };
        execFile('/app/test/' + test, options, (error) => resolve(error ? (error.signal ?? error.code) : 0));
      });
      const results = {};
      const work = async () => {
        for (let test = tests.shift(); test; test = tests.shift()) results[test] = await run(test, 15000);
      };
      await Promise.all(Array.from({ length: 12 }, work));
      // Many tests are about time: what failed in the crowd may try again alone, on a host that is busy more than once.
      const failed = ([, status]) => status !== 0 && !${JSON.stringify(NO_VERDICT)}.includes(status);
      for (let attempts = 0; attempts < 3; attempts++)
        for (const [test] of Object.entries(results).filter(failed)) results[test] = await run(test, 30000);
      return Object.entries(results);`,
    )) as [string, number | string][];
    const passed = seen.filter(([, status]) => status === 0);
    const failed = seen.filter(([, status]) => status !== 0 && !NO_VERDICT.includes(status as number));
    expect(failed).toEqual([]);
    expect(passed.length).toBeGreaterThan(400);
  });
});
