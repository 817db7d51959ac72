/** In a clone, what is missing of the system's packages is installed: what the steps need that are to be built, and no more. */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MANAGERS } from '../../packages/cli/host/managers.js';
import { cacheWith, LONG, nodeos, ROOT, type Finished } from '../support.js';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'nodeos-clone-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A host that lacks programs. Its package managers only note what they are asked for, and run a line of shell. */
async function hostWithout(names: readonly string[], installed = ':'): Promise<{ path: string; calls: string }> {
  const path = await mkdtemp(join(folder, 'host-'));
  const calls = join(path, '.calls');
  await writeFile(calls, '');
  const own = new Set([...names, 'sudo', ...MANAGERS.map(({ command }) => command)]);
  const found = new Set<string>(own);
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    for (const name of await readdir(directory).catch(() => [])) {
      if (found.has(name)) continue;
      found.add(name);
      await symlink(join(directory, name), join(path, name));
    }
  }
  const write = (name: string, body: string): Promise<void> =>
    writeFile(join(path, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  await write('sudo', '[ "$1" = -n ] && shift; exec "$@"');
  for (const { command } of MANAGERS)
    await write(command, `echo "${command} $*" >> '${calls}'; cd '${path}'; ${installed}`);
  return { path, calls };
}

async function run(
  { path, calls }: { path: string; calls: string },
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Finished & { installed: string }> {
  const child = spawn(process.execPath, [join(ROOT, 'bin/nodeos'), ...args], {
    env: { ...process.env, PATH: path, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  const status = await new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 1)));
  return { ...output, status, installed: await readFile(calls, 'utf8') };
}

const QEMU = 'qemu-system-x86_64';

describe('a clone on a host without a compiler', { timeout: LONG }, () => {
  const compilers = ['gcc', 'g++', 'flex', 'bison'];

  it('installs nothing if a remote cache has what is wanted', async () => {
    const [remote, key] = [join(folder, 'remote'), join(folder, 'release.pem')];
    const made = await nodeos('cache', 'key', key);
    const publicKey = /ed25519:\S+/.exec(made.stdout)?.[0] ?? '';
    expect((await nodeos('build', 'kernel')).status).toBe(0);
    const pushed = await nodeos('cache', 'push', remote, 'kernel', '--only', 'kernel', '--key', key);
    expect(pushed.status, pushed.stderr).toBe(0);
    const trusting = { NODEOS_REMOTE_CACHE: remote, NODEOS_TRUSTED_KEYS: publicKey, NODEOS_CACHE: await cacheWith() };
    const { status, stderr, installed } = await run(await hostWithout(compilers), ['build', 'kernel'], trusting);
    expect({ status, installed }, stderr).toEqual({ status: 0, installed: '' });
  });

  it('installs what the steps need, and says what is still missing', async () => {
    const host = await hostWithout([...compilers, QEMU]);
    const cache = { NODEOS_CACHE: await cacheWith() };
    const { status, stderr, installed } = await run(host, ['build', 'kernel', '--no-remote'], cache);
    expect(status).toBe(1);
    expect(stderr).toMatch(/nodeos: this machine lacks what builds .*kernel.*: C compiler \(/);
    expect(installed).toMatch(/\bgcc\b/);
    expect(installed).toMatch(/\bflex\b/);
    expect(installed).not.toMatch(/qemu|lz4/);
  });
});

describe('a clone on a host without QEMU', { timeout: LONG }, () => {
  it('installs it, and nothing else, and starts the machine', async () => {
    const real = (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, QEMU));
    const host = await hostWithout(
      [QEMU],
      `for file in ${real.join(' ')}; do [ -x $file ] && ln -sf $file ${QEMU}; done`,
    );
    const { status, stdout, stderr, installed } = await run(host, ['start', '--exec', 'console.log(1 + 1)']);
    expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: '2\n' });
    expect(installed).toMatch(/install .*qemu|-S .*qemu|add qemu/);
    expect(installed).not.toMatch(/gcc|flex|bison/);
  });

  it('installs nothing to tell what it can do', async () => {
    const { status, installed } = await run(await hostWithout([QEMU]), ['start', '--help']);
    expect({ status, installed }).toEqual({ status: 0, installed: '' });
  });
});
