/** `nodeos nbd serve`, used by foreign programs: nbdinfo, nbdcopy, qemu-img. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { authority } from '../../packages/nbd/test/pki.js';
import { output } from '../../packages/nbd/test/support.js';
import { ROOT, start, temporary } from '../support.js';
import { disk, folder, MIB, nbd, nbdkit, serve, sum, tool, webServer, runNbd } from './nbd-command.js';

const CLI = join(ROOT, 'packages/cli/bin/nodeos.js');

describe('serve', () => {
  it('serves a file to nbdinfo, nbdcopy and qemu-img, for reading and writing', async () => {
    const [path, copy] = [await disk(folder), join(folder, 'back')];
    const server = await serve(path, '--export', 'disk', '--description', 'of a test');
    const info = JSON.parse(await tool('nbdinfo', '--json', '--list', server.uri)) as { exports: object[] };
    expect(info.exports).toMatchObject([{ 'export-name': 'disk', description: 'of a test', 'export-size': 10 * MIB + 512 }]); // prettier-ignore
    await tool('nbdcopy', server.uri, copy);
    expect(await sum(copy)).toBe(await sum(path));
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, server.uri.replace(/\/disk$/, ''))).toContain('identical'); // prettier-ignore
    const other = await disk(folder);
    await tool('nbdcopy', '--flush', other, server.uri);
    expect(await sum(path)).toBe(await sum(other));
    await server.waitForOutput(/connection \d+ \(127\.0\.0\.1:\d+\) has left "disk"/);
    server.child.kill('SIGINT');
    expect((await server.ended).status).toBe(130);
  });

  it('serves several exports, some read-only, with a JSON log', async () => {
    const path = await disk(folder);
    const server = await serve('--json', '--read-only', `one=${path}`, 'two=memory:4M');
    const listening = JSON.parse(server.output.stdout.split('\n')[0] ?? '') as { exports: { uris: string[] }[] };
    expect(listening).toMatchObject({
      event: 'listening',
      exports: [{ name: 'one', read_only: true }, { name: 'two' }],
    });
    const two = listening.exports[1]?.uris[0] ?? '';
    expect(two).toMatch(/^nbd:\/\/127\.0\.0\.1:\d+\/two$/);
    expect(await tool('nbdinfo', '--size', two)).toBe(`${4 * MIB}\n`);
    await expect(tool('nbdcopy', path, two)).rejects.toThrow();
    await server.waitForOutput(/"event":"close".*"export":"two"/);
    server.child.kill('SIGTERM');
    expect((await server.ended).status).toBe(143);
  });

  it('keeps a memory disk beyond its clients, at two addresses', async () => {
    const path = await disk(folder);
    const socket = join(folder, 'two-places');
    const uri = `nbd+unix:///?socket=${socket}`;
    const server = await serve('memory:11M', '--listen', 'nbd://127.0.0.1:0', '--listen', uri);
    await tool('nbdcopy', path, server.uri);
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, uri)).toContain('identical');
    server.child.kill('SIGINT');
    await server.ended;
    expect(existsSync(socket)).toBe(false);
  });

  it('keeps the writes of an overlay over a restart, and leaves the source unchanged', async () => {
    const [base, changed, delta] = [await disk(folder), await disk(folder), join(folder, 'delta')];
    const before = await sum(base);
    const first = await serve(base, '--overlay', delta);
    await tool('nbdcopy', changed, first.uri);
    // The overlay is locked against other users.
    const second = await nbd('serve', base, '--overlay', delta, '--listen', 'nbd://127.0.0.1:0');
    expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining(`--overlay ${delta}: `) });
    first.child.kill('SIGINT');
    await first.ended;
    expect(await sum(base)).toBe(before);
    const again = await serve(base, '--overlay', delta);
    await tool('nbdcopy', again.uri, join(folder, 'kept'));
    expect(await sum(join(folder, 'kept'))).toBe(await sum(changed));
  });

  it('accepts requests of the configured maximum size', async () => {
    const script =
      'h.set_strict_mode(0); print(h.get_block_size(nbd.SIZE_MAXIMUM)); h.pwrite(b"x" * (48 << 20), 0); print(len(h.pread(48 << 20, 0)))';
    const sh = ['--', 'sh', '-c', `PATH=/usr/bin:$PATH nbdsh -u "$NBD_URI" -c '${script}'`];
    const { status, stdout } = await start(['nbd', 'serve', 'memory:64M', '--max-request', '64M', ...sh]).ended;
    expect({ status, stdout }).toEqual({ status: 0, stdout: `${64 * MIB}\n${48 * MIB}\n` });
    expect((await start(['nbd', 'serve', 'memory:64M', ...sh]).ended).status).not.toBe(0);
  });

  it('gives each connection its own overlay, which ends with it', async () => {
    const path = await disk(folder);
    const before = await sum(path);
    const server = await serve('--overlay', 'each', path);
    const script = `
other = nbd.NBD()
other.connect_uri("${server.uri}")
print(h.can_multi_conn(), h.is_read_only(), other.can_multi_conn())
old = h.pread(8, 4096)
h.pwrite(b"mine....", 4096); other.pwrite(b"theirs..", 4096); h.flush()
print(h.pread(8, 4096), other.pread(8, 4096), old != h.pread(8, 4096))
other.shutdown()
again = nbd.NBD()
again.connect_uri("${server.uri}")
print(again.pread(8, 4096) == old, h.pread(8, 4096))`;
    expect(await output('nbdsh', '-u', server.uri, '-c', script)).toBe(
      "False False False\nbytearray(b'mine....') bytearray(b'theirs..') True\nTrue bytearray(b'mine....')\n",
    );
    await server.waitForOutput(/what a connection writes ends with it/);
    // The overlay has no file name, so nothing is left behind however the server ends.
    expect((await readdir(tmpdir())).filter((name) => name.startsWith('nodeos-overlay-'))).toEqual([]);
    server.child.kill('SIGKILL');
    await server.ended;
    expect(await sum(path)).toBe(before);
  });

  it('rejects an overlay over a source that has changed on its server', async () => {
    const [path, delta] = [await disk(folder), join(folder, 'web-delta-of-one')];
    const words = (version: string): Promise<string[]> =>
      webServer(path, version).then((url) => ['nbd', 'serve', '--overlay', delta, url, '--', 'true']);
    expect((await start(await words('one')).ended).status).toBe(0);
    const { status, stderr } = await start(await words('two')).ended;
    expect([status, stderr]).toEqual([1, expect.stringContaining('another version of it, than "two"')]);
    expect((await start(await words('one')).ended).status).toBe(0);
  });

  it('runs a command and returns its status, on a temporary socket', async () => {
    const path = await disk(folder);
    const script = 'echo "$NBD_URI"; nbdinfo --size "$NBD_URI"; exit 7';
    const { status, stdout } = await start(['nbd', 'serve', path, '-e', 'x/y z', '--', 'sh', '-c', script]).ended;
    expect(status).toBe(7);
    const [uri = '', size] = stdout.split('\n');
    expect(uri).toMatch(/^nbd\+unix:\/\/\/x\/y%20z\?socket=\//);
    expect(size).toBe(String(10 * MIB + 512));
    expect(existsSync(uri.replace(/.*socket=/, ''))).toBe(false);
    expect(existsSync(join(uri.replace(/.*socket=/, ''), '..'))).toBe(false);
    const missing = await start(['nbd', 'serve', path, '--', '/nowhere/command']).ended;
    expect(missing.status).toBe(1);
    expect(missing.stderr).toBe(
      'nodeos: /nowhere/command: it was not found\n  what follows -- is a program and its arguments\n',
    );
  });

  it('passes a signal on to the command', async () => {
    const server = start(['nbd', 'serve', 'memory:1M', '--', 'sh', '-c', 'echo "pid $$ $NBD_URI"; exec sleep 60']);
    const [, pid = '', socket = ''] = await server.waitForOutput(/pid (\d+) \S+socket=(\S+)/);
    server.child.kill('SIGTERM');
    expect((await server.ended).status).toBe(143);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(existsSync(socket)).toBe(false);
  });

  it('does not wait for a client after the second Ctrl-C', async () => {
    const slow = await nbdkit('--filter=delay', 'pattern', '1M', 'rdelay=60');
    const server = await serve(slow);
    const client = spawn('nbdcopy', [server.uri, 'null:'], { stdio: 'ignore' });
    onTestFinished(() => void client.kill('SIGKILL'));
    await server.waitForOutput(/uses the default export/);
    await sleep(300);
    server.child.kill('SIGINT');
    await sleep(700);
    expect(server.child.exitCode).toBe(null);
    server.child.kill('SIGINT');
    expect((await server.ended).status).toBe(130);
  });

  it('serves on passed sockets, as nbdinfo and systemd do', async () => {
    const path = await disk(folder);
    const size = await tool('nbdinfo', '--size', '--', '[', process.execPath, CLI, 'nbd', 'serve', path, ']');
    expect(size).toBe(`${10 * MIB + 512}\n`);
    const listener = createServer().listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { fd } = (listener as unknown as { _handle: { fd: number } })._handle;
    const script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"';
    const words = ['-c', script, process.execPath, CLI, 'nbd', 'serve', path];
    const child = spawn('sh', words, { stdio: ['ignore', 'pipe', 'ignore', fd] });
    onTestFinished(() => void child.kill('SIGKILL'));
    const { port } = listener.address() as AddressInfo;
    const [said] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
    listener.close();
    expect(said.toString()).toBe(`nbd://127.0.0.1:${port}\n`);
    expect(await tool('nbdinfo', '--size', `nbd://127.0.0.1:${port}`)).toBe(`${10 * MIB + 512}\n`);
  });

  it('serves over TLS with keys and with certificates', async () => {
    const keys = join(folder, 'keys.psk');
    await writeFile(keys, `alice:${randomBytes(32).toString('hex')}\n`);
    const psk = await serve('memory:2M', '--psk', keys);
    expect(psk.uri).toMatch(/^nbds:/);
    const uri = `${psk.uri.replace('//', '//alice@')}?tls-psk-file=${keys}`;
    expect(await tool('nbdinfo', '--size', uri)).toBe(`${2 * MIB}\n`);
    expect(await runNbd('info', uri)).toMatch(/^protocol: newstyle-fixed with TLS/);
    await expect(tool('nbdinfo', psk.uri.replace('nbds', 'nbd'))).rejects.toThrow();

    const command = ['sh', '-c', 'cd / && nbdinfo --size "$NBD_URI"'];
    const given = ['nbd', 'serve', 'memory:2M', '--psk', relative(ROOT, keys), '--', ...command];
    expect((await start(given).ended).stdout).toBe(`${2 * MIB}\n`);

    const pki = await temporary();
    authority(pki).sign(pki, 'server', 'localhost');
    const script = 'cd /; nbdinfo --size "$NBD_URI"; nbdinfo --size "$(echo "$NBD_URI" | sed "s/nbds/nbd/; s/?.*//")"';
    const tls = ['--tls', relative(ROOT, pki), '--tls-optional', '--listen', 'nbds://localhost:0'];
    const args = ['nbd', 'serve', 'memory:2M', ...tls];
    const { stdout, stderr } = await start([...args, '--', 'sh', '-c', script]).ended;
    expect(stdout, stderr).toBe(`${2 * MIB}\n${2 * MIB}\n`);
  });

  it('serves metrics and writes a trace that can be drawn', async () => {
    const [path, trace, svg] = [await disk(folder), join(folder, 'trace'), join(folder, 'picture.svg')];
    const server = await serve(path, '--trace', trace, '--metrics', '0');
    const [, url = ''] = await server.waitForOutput(/metrics: (\S+)/);
    await tool('nbdcopy', server.uri, 'null:');
    const text = await (await fetch(url)).text();
    expect(text).toMatch(/^nbd_requests_total\{command="read"\} [1-9]/m);
    expect((await fetch(url.replace('metrics', 'x'))).status).toBe(404);
    server.child.kill('SIGINT');
    await server.ended;
    await runNbd('plot', trace, '--output', svg, '--title', 'A <disk>');
    const picture = await readFile(svg, 'utf8');
    expect(picture).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    expect(picture).toContain('<title>A &lt;disk&gt;</title>');
    expect(picture).toContain('of 10.0 MiB were read');
    expect(await runNbd('plot', trace, '--title', 'A <disk>')).toBe(picture);
  });
});
