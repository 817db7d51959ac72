/** How commands end: a signal and failures after it, a second signal, readers that go away, full disks. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { exec, ROOT, start, temporary } from '../support.js';
import { disk, folder, MIB, nbdkit, serve, tool } from '../stream/nbd-command.js';

const CLI = join(ROOT, 'packages/cli/bin/nodeos.js');

/** A disk that accepts all writes but fails a flush. */
const unflushable = (): Promise<string> =>
  nbdkit(
    'eval',
    ...['get_size=echo 1M', 'can_write=exit 0', 'can_flush=exit 0', 'pwrite=cat >/dev/null'],
    ...['pread=head -c $3 /dev/zero', 'flush=echo EIO broken >&2; exit 1'],
  );

describe('a failure at the end of a server', () => {
  it('is reported after Ctrl-C too', async () => {
    const server = await serve(await unflushable());
    const path = join(folder, 'written');
    await writeFile(path, 'x'.repeat(4096));
    await tool('nbdcopy', path, server.uri);
    server.child.kill('SIGINT');
    const { status, stderr } = await server.ended;
    expect(stderr).toMatch(/: what was written last may be lost: EIO.*\nnodeos: interrupted by SIGINT\n$/);
    expect(status).toBe(1);
  });

  it('does not keep other disks from being flushed and closed, and all failures are reported', async () => {
    const [good, bad, worse] = [await nbdkit('memory', '1M'), await unflushable(), await unflushable()];
    const words = ['nbd', 'serve', `a=${good}`, `b=${bad}`, `c=${worse}`, '--', 'true'];
    const { status, stderr } = await start(words).ended;
    for (const uri of [bad, worse]) expect(stderr).toContain(`${uri}: what was written last may be lost`);
    expect(status).toBe(1);
  }, 20_000);
});

describe('the second Ctrl-C', () => {
  it.each([
    ['map', 'delay-extents=60'],
    ['map', 'delay-open=60'],
    ['info', 'delay-open=60'],
    ['list', 'delay-open=60'],
  ])(
    'does not wait for %s of a server with %s',
    async (action, delay) => {
      const command = start(['nbd', action, await nbdkit('--filter=delay', 'memory', '1M', delay)]);
      await sleep(1000);
      command.child.kill('SIGINT');
      await sleep(700);
      command.child.kill('SIGINT');
      expect(await command.ended).toEqual({ status: 130, stdout: '', stderr: 'nodeos: interrupted by SIGINT\n' });
    },
    20_000,
  );

  it('does not wait for a silent web server to be served', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void silent.close());
    await once(silent, 'listening');
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/disk.img`;
    const command = start(['nbd', 'serve', url, '--listen', 'nbd://127.0.0.1:0']);
    await once(silent, 'connection');
    command.child.kill('SIGINT');
    await sleep(700);
    command.child.kill('SIGINT');
    expect((await command.ended).status).toBe(130);
  }, 20_000);
});

describe.runIf(process.platform === 'linux')('a kill -9', () => {
  it('leaves the folder of a machine, which the next machine removes', async () => {
    const machine = start(['start', '--exec', 'console.log("up"); setInterval(() => {}, 1000)']);
    const foldersOf = async (pid: number | undefined): Promise<string[]> =>
      (await readdir('/tmp')).filter((name) => name.startsWith(`nodeos-vm-${pid}-`));
    await machine.waitForOutput(/up/);
    const [folder = ''] = await foldersOf(machine.child.pid);
    expect(await readdir(join('/tmp', folder))).toContain('nodeos.events');
    machine.child.kill('SIGKILL');
    expect((await machine.ended).status).toBe(137);
    expect(await foldersOf(machine.child.pid)).toEqual([folder]);
    expect(await exec('console.log(1)')).toMatchObject({ status: 0, stdout: '1\n' });
    expect(await foldersOf(machine.child.pid)).toEqual([]);
  });
});

describe('a reader that goes away', () => {
  it('ends a command silently', async () => {
    const command = start(['nbd', 'map', await disk(folder)]);
    command.child.stdout?.destroy();
    expect(await command.ended).toMatchObject({ status: 141, stderr: '' });
  });

  it('ends a server and its command and leaves nothing behind', async () => {
    const TMPDIR = await temporary();
    const words = ['nbd', 'serve', '--json', 'memory:1M', '--'];
    const script = 'sleep 1; nbdinfo --size "$NBD_URI" >&2; exec sleep 60';
    const server = start([...words, 'sh', '-c', script], { env: { TMPDIR } });
    await server.waitForOutput(/"event":"listening"/);
    server.child.stdout?.destroy();
    expect(await server.ended).toMatchObject({ status: 141, stderr: `${MIB}\n` });
    expect(await readdir(TMPDIR)).toEqual([]);
  }, 20_000);

  it('ends a copy and leaves no partial file', async () => {
    const [into, slow] = [await temporary(), await nbdkit('--filter=delay', 'pattern', '1G', 'delay-read=100ms')];
    const copy = start(['nbd', 'copy', slow, join(into, 'copy'), '--json', '--requests', '1']);
    await copy.waitForOutput(/"event":"copied"/);
    copy.child.stdout?.destroy();
    expect(await copy.ended).toMatchObject({ status: 141, stderr: '' });
    expect(await readdir(into)).toEqual([]);
  }, 20_000);

  it('does not matter to a command without output', async () => {
    const into = join(await temporary(), 'copy');
    const copy = start(['nbd', 'copy', 'memory:1M', into]);
    copy.child.stdout?.destroy();
    expect(await copy.ended).toMatchObject({ status: 0 });
  });
});

describe.runIf(process.platform === 'linux')('a full disk', () => {
  it('under the output is reported as an error', async () => {
    const words = ['-c', '"$0" "$@" >/dev/full', process.execPath, CLI, 'nbd', 'info', await disk(folder)];
    const { status, stderr } = spawnSync('sh', words, { encoding: 'utf8' });
    expect(stderr).toMatch(/^nodeos: cannot write to standard output: ENOSPC.*\n$/);
    expect(status).toBe(1);
  });

  it.each([
    ['text', '2>', []],
    ['JSON', '>', ['--json']],
  ])(
    'under the log (%s) does not end a server',
    async (_kind, into, options) => {
      const uri = `nbd+unix:///?socket=${join(await temporary(), 'socket')}`;
      const words = ['nbd', 'serve', 'memory:1M', '--listen', uri, ...options];
      const server = spawn('sh', ['-c', `exec "$0" "$@" ${into}/dev/full`, process.execPath, CLI, ...words]);
      onTestFinished(() => void server.kill('SIGKILL'));
      while (!(await tool('nbdinfo', '--size', uri).catch(() => ''))) await sleep(100);
      expect(await tool('nbdinfo', '--size', uri)).toBe(`${MIB}\n`);
      server.kill('SIGINT');
      expect(await once(server, 'exit')).toEqual([130, null]);
    },
    20_000,
  );
});
