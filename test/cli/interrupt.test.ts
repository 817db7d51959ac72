import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { cacheWith, LONG, start, temporary } from '../support.js';

/** Processes whose working folder or command line lies below a folder. */
async function processesIn(root: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && name !== String(process.pid));
  const lines = await Promise.all(
    pids.map((pid) =>
      readFile(`/proc/${pid}/cmdline`, 'utf8').then(
        (text) => `${pid} ${text.replaceAll('\0', ' ')}`,
        () => '',
      ),
    ),
  );
  return lines.filter((line) => line.includes(root));
}

async function none(root: string): Promise<string[]> {
  for (let attempt = 0; attempt < 150; attempt++) {
    if ((await processesIn(root)).length === 0) return [];
    await sleep(200);
  }
  return processesIn(root);
}

describe.runIf(process.platform === 'linux')('a kernel build in progress', () => {
  it('ends its compilers when it is killed, and the next build starts afresh', { timeout: LONG }, async () => {
    const root = await cacheWith();
    const env = { NODEOS_CACHE: root };
    const first = start(['build', 'kernel', '--libc', 'glibc', '--json'], { env });
    await first.waitForOutput(/"line":" {2}CC .*"/);
    first.child.kill('SIGKILL');
    expect((await first.ended).status).toBe(137);
    expect(await none(root)).toEqual([]);
    expect(await readdir(join(root, 'steps')).catch(() => [])).toEqual([]); // no output looks finished

    const second = start(['build', 'kernel', '--libc', 'glibc', '--json'], { env });
    await second.waitForOutput(/"line":" {2}CC .*"/);
    expect(await readdir(join(root, 'tmp'))).toHaveLength(1); // the leftovers of the first build are gone
    second.child.kill('SIGINT');
    expect((await second.ended).status).toBe(130);
    expect(await none(root)).toEqual([]);
    expect(await readdir(join(root, 'tmp'))).toEqual([]);
    expect(await readdir(join(root, 'steps')).catch(() => [])).toEqual([]);
  });

  it('a source that no place serves is reported with the reason of each place', async () => {
    const root = await temporary();
    // A refusing proxy simulates an unreachable network, for apt and for the engine.
    const { status, stderr } = await start(['build', 'kernel', '--libc', 'glibc'], {
      env: {
        NODEOS_CACHE: root,
        HTTPS_PROXY: 'http://127.0.0.1:9',
        HTTP_PROXY: 'http://127.0.0.1:9',
        http_proxy: 'http://127.0.0.1:9',
      },
    }).ended;
    expect(status).toBe(1);
    expect(stderr).toContain('cannot fetch linux 6.12');
    expect(stderr).toMatch(/Debian trixie, package linux-source-6\.12 6\.12\S+: /);
    expect(stderr).toMatch(/https:\/\/snapshot\.debian\.org\/file\/\w+: /);
  });
});
