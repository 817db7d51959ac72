/** `nodeos nbd`, judged by programs that are not ours: nbdinfo, nbdcopy, qemu-img, nbdkit, qemu-nbd. */
import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { main } from 'nodeos';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { authority } from '../../packages/nbd/test/pki.js';
import { started } from '../../packages/nbd/test/support.js';
import { ROOT, start, temporary, type Finished, type Running } from '../support.js';

const MIB = 1 << 20;
const CLI = join(ROOT, 'packages/cli/bin/nodeos.js');
const ACTIONS = ['serve', 'info', 'list', 'map', 'copy', 'attach', 'detach', 'plot'];

/** The command in this process, to its end. */
async function nbd(...args: string[]): Promise<Finished> {
  const output = { stdout: '', stderr: '' };
  const into = (name: keyof typeof output): Writable =>
    new Writable({ write: (chunk, _encoding, done) => ((output[name] += String(chunk)), done()) });
  const status = await main(['nbd', ...args], {
    stdout: into('stdout'),
    stderr: into('stderr'),
    stdin: {},
    env: {},
    signal: new AbortController().signal,
    kill: new AbortController().signal,
  });
  return { status, ...output };
}

/** @returns what it says on standard output */
async function works(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await nbd(...args);
  expect(status, stderr).toBe(0);
  return stdout;
}

const execute = promisify(execFile);

async function tool(name: string, ...args: string[]): Promise<string> {
  return (await execute(name, args)).stdout;
}

/** A sparse file with data in odd places, and stored zeros. */
async function disk(folder: string, size = 10 * MIB + 512): Promise<string> {
  const path = join(folder, `disk-${randomBytes(4).toString('hex')}`);
  const handle = await open(path, 'w');
  await handle.truncate(size);
  for (const at of [0, 640 << 10, 5 * MIB + 4096, size - 512]) await handle.write(randomBytes(Math.min(70_000, size - at)), 0, undefined, at); // prettier-ignore
  await handle.write(Buffer.alloc(MIB), 0, MIB, 7 * MIB);
  await handle.close();
  return path;
}

const sum = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

/** What the path holds, but for the holes. */
const stored = async (path: string): Promise<number> => (await stat(path)).blocks * 512;

/** Starts the server; it listens when this resolves. @returns the URI of its first export */
async function serve(...args: string[]): Promise<Running & { uri: string }> {
  const listen = args.includes('--listen') ? [] : ['--listen', 'nbd://127.0.0.1:0'];
  const server = start(['nbd', 'serve', ...listen, ...args]);
  const [uri] = await server.saw(/nbds?(\+unix)?:\/\/\S+/);
  return { ...server, uri };
}

/** A server that is not ours, on a Unix socket. */
async function foreign(command: string, args: (socket: string) => string[]): Promise<string> {
  const socket = join(await temporary(), 'socket');
  await started(socket, command, ...args(socket));
  return `nbd+unix:///?socket=${socket}`;
}

const nbdkit = (...args: string[]): Promise<string> => foreign('nbdkit', (socket) => ['-f', '-U', socket, ...args]);
const qemuNbd = (file: string, ...args: string[]): Promise<string> =>
  foreign('qemu-nbd', (socket) => ['-k', socket, '-t', '-e', '16', '-f', 'raw', ...args, file]);

let folder: string;
beforeAll(async () => {
  const { mkdtemp, rm } = await import('node:fs/promises');
  folder = await mkdtemp(join(tmpdir(), 'nodeos-nbd-cli-'));
  return () => rm(folder, { recursive: true, force: true });
});

describe('help and usage', () => {
  it('nodeos nbd --help has every action; without an action it is the same, status 2', async () => {
    const asked = await nbd('--help');
    for (const action of ACTIONS) expect(asked.stdout).toMatch(new RegExp(`^ {2}${action} `, 'm'));
    expect(await nbd()).toEqual({ ...asked, status: 2 });
    expect(await nbd('help', 'copy')).toEqual(await nbd('copy', '--help'));
  });

  it.each(ACTIONS)('%s --help has options and examples', async (action) => {
    const { status, stdout } = await nbd(action, '--help');
    expect(status).toBe(0);
    expect(stdout).toContain(`nodeos nbd ${action} `);
    expect(stdout).toContain('Options:');
    expect(stdout).toContain(`Examples:\n  nodeos nbd ${action}`);
  });

  it.each([
    [['fly'], 'unknown action "fly"', 'serve, info, list, map, copy, attach, detach, plot'],
    [['serve'], 'no source', 'nodeos nbd serve disk.img'],
    [['serve', 'ftp://x/y'], 'nothing is known of ftp://', 'memory:SIZE'],
    [['serve', 'memory:lots'], 'memory: lots: expected a size such as 512M', ''],
    [['serve', 'x/a.img', 'y/a.img'], 'two sources are called a.img', 'NAME=y/a.img'],
    [['serve', 'memory:1M', 'b=memory:2M', '--export', 'x'], '--export x: only with one source', 'x=memory:1M'],
    [['serve', 'memory:1M', 'b=memory:2M', '--overlay', 'x'], '--overlay: only with one source', ''],
    [['serve', 'memory:1M', '--read-only', '--overlay', 'x'], 'needs no overlay', ''],
    [['serve', 'memory:1M', '--listen', 'http://x'], '--listen http://x: expected nbd:', 'nbd://127.0.0.1:10809'],
    [['serve', 'memory:1M', '--listen', 'nbds://127.0.0.1:0'], 'there is no TLS without certificates', '--tls DIR'],
    [['serve', 'memory:1M', '--listen', 'nbd://127.0.0.1/x'], 'names an export', '--export'],
    [['serve', 'memory:1M', '--tls-optional'], '--tls-optional: there is no TLS', '--psk FILE'],
    [
      ['serve', 'memory:1M', '--listen', 'nbd://127.0.0.1:0', '--metrics', 'x'],
      '--metrics x: expected [HOST:]PORT',
      '',
    ],
    [['copy', 'memory:1M'], 'DESTINATION is missing', 'nodeos nbd copy --help'],
    [['copy', 'memory:1M', 'memory:1M', 'x'], 'not also x', ''],
    [['copy', 'memory:1M', 'http://x/y'], 'http://x/y: cannot be written', 'NBD exports'],
    [['copy', 'memory:1', 'memory:1', '--requests', '0'], '--requests 0: expected a number of at least 1', ''],
    [['copy', 'memory:1', 'memory:1', '--no-sparse', '--destination-is-zero'], 'either zeros are written', ''],
    [['list', 'disk.img'], 'disk.img: expected a server', 'nbd://10.0.0.2'],
    [['info', 'nbd://'], 'nbd://: ', ''],
    [['detach', '/dev/sda'], '/dev/sda: expected a device such as /dev/nbd0', ''],
    [['attach'], 'nodeos nbd attach SOURCE [/dev/nbdN]', ''],
  ])('%j is status 2', async (args, cause, remedy) => {
    const { status, stdout, stderr } = await nbd(...args);
    expect(stderr).toContain(cause);
    expect(stderr).toContain(remedy);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).not.toMatch(/^ {4}at /m);
  });

  it.each([
    [['info', '/nowhere'], 'cannot open /nowhere: ENOENT'],
    [['info', '/'], 'cannot open /: '],
    [['copy', 'memory:1M', '/nowhere/x'], 'cannot create /nowhere/x: ENOENT'],
    [['copy', 'memory:2M', 'memory:1M'], 'the source has 2097152 bytes, the target has only 1048576'],
    [['copy', 'memory:1M', '/dev/null'], 'neither a file nor a block device'],
    [['map', 'nbd+unix:///?socket=/nowhere'], 'no server has made this socket'],
    [['serve', 'memory:1M', '--listen', 'nbd+unix:///?socket=/nowhere/x'], 'cannot listen at /nowhere/x'],
    [['serve', 'memory:1M', '--psk', '/nowhere'], '--psk: cannot read /nowhere'],
    [['serve', 'memory:1M', '--tls', '/nowhere'], 'cannot read /nowhere/server-cert.pem'],
    [['serve', 'memory:1M', '--trace', '/nowhere/x'], '--trace /nowhere/x: ENOENT'],
    [['plot', '/nowhere'], 'cannot read the trace /nowhere'],
  ])('%j fails with words, status 1', async (args, cause) => {
    const { status, stderr } = await nbd(...args);
    expect(stderr).toContain(cause);
    expect(status).toBe(1);
    expect(stderr).not.toMatch(/^ {4}at /m);
  });

  it.skipIf(existsSync('/sys/module/nbd') || existsSync('/sys/block/nbd0'))(
    'attach and detach without a driver',
    async () => {
      for (const args of [
        ['attach', 'memory:1M'],
        ['attach', 'nbd://127.0.0.1/'],
        ['detach', '/dev/nbd0'],
      ]) {
        const { status, stderr } = await nbd(...args);
        expect(stderr).toMatch(/^nodeos: this kernel has no NBD driver\n {2}modprobe nbd/);
        expect(status).toBe(1);
      }
    },
  );
});

describe('info, list and map', () => {
  interface Info {
    readonly exports: Record<string, unknown>[];
  }
  const SAME = ['export-name', 'export-size', 'contexts', 'is_read_only', 'can_flush', 'can_fua', 'can_trim', 'can_zero', 'can_cache', 'can_multi_conn', 'can_fast_zero']; // prettier-ignore

  it('say what nbdinfo says, of nbdkit and of qemu-nbd', async () => {
    const path = await disk(folder);
    for (const uri of [await nbdkit('file', path), await nbdkit('-r', 'memory', '5M'), await qemuNbd(path, '-r')]) {
      const ours = JSON.parse(await works('info', uri, '--json')) as Info;
      const theirs = JSON.parse(await tool('nbdinfo', '--json', uri)) as Info;
      for (const key of SAME) expect([key, ours.exports[0]?.[key]]).toEqual([key, theirs.exports[0]?.[key]]);
      expect(ours).toMatchObject({ protocol: 'newstyle-fixed', TLS: false, structured: true });
      expect(JSON.parse(await works('map', uri, '--json'))).toEqual(JSON.parse(await tool('nbdinfo', '--map', '--json', uri))); // prettier-ignore
      expect(await works('map', uri)).toBe(await tool('nbdinfo', '--map', uri));
      expect(await works('map', uri, '--totals')).toBe(await tool('nbdinfo', '--map', '--totals', uri));
      expect(await works('info', uri)).toMatch(/^protocol: newstyle-fixed without TLS, using structured packets\nexport="":\n/); // prettier-ignore
    }
  });

  it('list the exports of a server, with their sizes', async () => {
    const uri = await foreign('nbdkit', (socket) => ['-f', '-U', socket, '--filter=exportname', 'memory', '3M', 'exportname-list=explicit', 'exportname=one', 'exportname=two']); // prettier-ignore
    expect(await works('list', uri)).toBe('       3 MiB  one\n       3 MiB  two\n');
    const { exports } = JSON.parse(await works('list', uri, '--json')) as Info;
    expect(exports[1]).toMatchObject({ 'export-name': 'two', uri: uri.replace('///', '///two') });
    const described = await qemuNbd(await disk(folder), '-x', 'disk', '-D', 'a disk');
    expect(await works('list', described)).toMatch(/MiB {2}disk {2}a disk\n$/);
  });

  it('of an export that is not there says where to look', async () => {
    const uri = await qemuNbd(await disk(folder), '-x', 'disk');
    const { status, stderr } = await nbd('info', uri.replace('///', '///other'));
    expect(status).toBe(1);
    expect(stderr).toMatch(/was refused.*\n {2}nodeos nbd list nbd\+unix:/);
  });

  it('of an oldstyle server, and of files and URLs', async () => {
    const old = await nbdkit('-o', 'memory', '3M');
    expect(JSON.parse(await works('info', old, '--json'))).toMatchObject({ protocol: 'oldstyle', exports: [{ 'export-size': 3 * MIB }] }); // prettier-ignore
    const path = await disk(folder);
    expect(await works('info', path)).toContain(`export-size: ${10 * MIB + 512} (10.0 MiB)`);
    expect(await works('map', path)).toBe(await tool('nbdinfo', '--map', await nbdkit('file', path)));
  });
});

describe('serve', () => {
  it('a file, to nbdinfo, nbdcopy and qemu-img, there and back', async () => {
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
    await server.saw(/connection \d+ \(127\.0\.0\.1:\d+\) has left "disk"/);
    server.child.kill('SIGINT');
    expect((await server.ended).status).toBe(130);
  });

  it('several exports, of which some are read-only; --json', async () => {
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
    await server.saw(/"event":"close".*"export":"two"/);
    server.child.kill('SIGTERM');
    expect((await server.ended).status).toBe(143);
  });

  it('what is in memory outlives its clients, at two places', async () => {
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

  it('an overlay keeps what was written over a restart, and leaves the source as it was', async () => {
    const [base, changed, delta] = [await disk(folder), await disk(folder), join(folder, 'delta')];
    const before = await sum(base);
    const first = await serve(base, '--overlay', delta);
    await tool('nbdcopy', changed, first.uri);
    // Somebody else may not use it now.
    const second = await nbd('serve', base, '--overlay', delta, '--listen', 'nbd://127.0.0.1:0');
    expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining(`--overlay ${delta}: `) });
    first.child.kill('SIGINT');
    await first.ended;
    expect(await sum(base)).toBe(before);
    const again = await serve(base, '--overlay', delta);
    await tool('nbdcopy', again.uri, join(folder, 'kept'));
    expect(await sum(join(folder, 'kept'))).toBe(await sum(changed));
  });

  it('a command, with its status, on a socket that is gone afterwards', async () => {
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
    expect(missing.stderr).toContain('/nowhere/command');
  });

  it('a signal ends the command too', async () => {
    const server = start(['nbd', 'serve', 'memory:1M', '--', 'sh', '-c', 'echo "pid $$ $NBD_URI"; exec sleep 60']);
    const [, pid = '', socket = ''] = await server.saw(/pid (\d+) \S+socket=(\S+)/);
    server.child.kill('SIGTERM');
    expect((await server.ended).status).toBe(143);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(existsSync(socket)).toBe(false);
  });

  it('the second Ctrl-C does not wait for a client', async () => {
    const slow = await nbdkit('--filter=delay', 'pattern', '1M', 'rdelay=60');
    const server = await serve(slow);
    const client = spawn('nbdcopy', [server.uri, 'null:'], { stdio: 'ignore' });
    onTestFinished(() => void client.kill('SIGKILL'));
    await server.saw(/uses the default export/);
    await sleep(300);
    server.child.kill('SIGINT');
    await sleep(700);
    expect(server.child.exitCode).toBe(null);
    server.child.kill('SIGINT');
    expect((await server.ended).status).toBe(130);
  });

  it('on sockets that are handed over, as nbdinfo and systemd do', async () => {
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

  it('over TLS, with keys and with certificates', async () => {
    const keys = join(folder, 'keys.psk');
    await writeFile(keys, `alice:${randomBytes(32).toString('hex')}\n`);
    const psk = await serve('memory:2M', '--psk', keys);
    expect(psk.uri).toMatch(/^nbds:/);
    const uri = `${psk.uri.replace('//', '//alice@')}?tls-psk-file=${keys}`;
    expect(await tool('nbdinfo', '--size', uri)).toBe(`${2 * MIB}\n`);
    expect(await works('info', uri)).toMatch(/^protocol: newstyle-fixed with TLS/);
    await expect(tool('nbdinfo', psk.uri.replace('nbds', 'nbd'))).rejects.toThrow();

    const pki = await temporary();
    authority(pki).sign(pki, 'server', 'localhost');
    const script = 'nbdinfo --size "$NBD_URI"; nbdinfo --size "$(echo "$NBD_URI" | sed "s/nbds/nbd/; s/?.*//")"';
    const args = ['nbd', 'serve', 'memory:2M', '--tls', pki, '--tls-optional', '--listen', 'nbds://localhost:0'];
    const { stdout, stderr } = await start([...args, '--', 'sh', '-c', script]).ended;
    expect(stdout, stderr).toBe(`${2 * MIB}\n${2 * MIB}\n`);
  });

  it('with metrics, and a trace that can be drawn', async () => {
    const [path, trace, svg] = [await disk(folder), join(folder, 'trace'), join(folder, 'picture.svg')];
    const server = await serve(path, '--trace', trace, '--metrics', '0');
    const [, url = ''] = await server.saw(/metrics: (\S+)/);
    await tool('nbdcopy', server.uri, 'null:');
    const text = await (await fetch(url)).text();
    expect(text).toMatch(/^nbd_requests_total\{command="read"\} [1-9]/m);
    expect((await fetch(url.replace('metrics', 'x'))).status).toBe(404);
    server.child.kill('SIGINT');
    await server.ended;
    await works('plot', trace, '--output', svg, '--title', 'A <disk>');
    const picture = await readFile(svg, 'utf8');
    expect(picture).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    expect(picture).toContain('<title>A &lt;disk&gt;</title>');
    expect(picture).toContain('of 10.0 MiB were read');
    expect(await works('plot', trace, '--title', 'A <disk>')).toBe(picture);
  });
});

describe('copy', () => {
  it('between files, exports of all servers and URLs, sparsely', async () => {
    const path = await disk(folder);
    const to = (name: string): string => join(folder, `copy-${name}`);
    const expected = await sum(path);

    await works('copy', path, to('file'), '--verify');
    expect(await sum(to('file'))).toBe(expected);
    expect(await stored(to('file'))).toBeLessThan(await stored(path)); // without the zeros that are stored

    await works('copy', await nbdkit('file', path), to('nbdkit'));
    expect(await tool('cmp', path, to('nbdkit'))).toBe('');

    const blank = join(folder, 'blank');
    await writeFile(blank, randomBytes(11 * MIB));
    const tail = (await readFile(blank)).subarray(10 * MIB + 512);
    const target = await qemuNbd(blank);
    await works('copy', path, target, '--verify', '--flush');
    expect((await readFile(blank)).subarray(10 * MIB + 512).equals(tail)).toBe(true);
    expect((await readFile(blank)).subarray(0, 10 * MIB + 512).equals(await readFile(path))).toBe(true);

    const server = await serve('memory:10486272');
    await works('copy', path, server.uri, '--connections', '2', '--requests', '3', '--destination-is-zero');
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, server.uri)).toContain('identical');
    const between = await nbdkit('memory', '10486272');
    await works('copy', server.uri, between, '--verify');
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, between)).toContain('identical');

    await works('copy', await webServer(path), to('web'));
    expect(await sum(to('web'))).toBe(expected);

    await works('copy', path, to('full'), '--no-sparse');
    expect(await sum(to('full'))).toBe(expected);
    expect(await stored(to('full'))).toBeGreaterThanOrEqual(10 * MIB);
  });

  it('from a URL that is served with an overlay', async () => {
    const path = await disk(folder);
    const server = await serve('--overlay', join(folder, 'web-delta'), await webServer(path));
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, server.uri)).toContain('identical');
    await works('copy', 'memory:10M', server.uri);
    expect(await works('map', server.uri, '--totals')).toMatch(/100\.0%|hole/);
  });

  it('tells its result as JSON, and replaces a file only when it is whole', async () => {
    const [path, old] = [await disk(folder), join(folder, 'old')];
    await writeFile(old, 'as it was');
    const failed = await nbd('copy', await nbdkit('--filter=error', 'pattern', '8M', 'error-pread-rate=100%'), old);
    expect(failed.status).toBe(1);
    expect(failed.stderr).toMatch(/cannot copy nbd\S+ to \S+: reading \d+ bytes at \d+ of the source: EIO/);
    expect(await readFile(old, 'utf8')).toBe('as it was');
    const line = (await works('copy', path, old, '--json', '--verify')).trim();
    expect(JSON.parse(line)).toMatchObject({ event: 'done', size: 10 * MIB + 512, verified: true });
    expect(await sum(old)).toBe(await sum(path));
    expect((await readdir(folder)).filter((name) => name.includes('partial'))).toEqual([]);
  });

  it('with a read-only export as its destination says why it cannot', async () => {
    const { status, stderr } = await nbd('copy', 'memory:1M', await nbdkit('-r', 'memory', '1M'));
    expect(status).toBe(1);
    expect(stderr).toMatch(/cannot be written\n {2}the server does not let it/);
  });

  it('ended by Ctrl-C leaves nothing, and says how far it is until then', async () => {
    const slow = await nbdkit('--filter=rate', 'pattern', '64M', 'rate=64M');
    const target = await temporary();
    const copying = start(['nbd', 'copy', slow, join(target, 'disk'), '--json', '--requests', '2']);
    await copying.saw(/\{"event":"copied","done":\d+,"size":67108864,"seconds":[\d.]+\}/);
    expect(readdirSync(target)).toHaveLength(1);
    copying.child.kill('SIGINT');
    const { status, stderr } = await copying.ended;
    expect(status).toBe(130);
    expect(stderr).toBe('nodeos: interrupted by SIGINT\n');
    expect(readdirSync(target)).toEqual([]);
  });

  it('ended by a second Ctrl-C does not wait for a server that is stuck', async () => {
    const stuck = await nbdkit('--filter=delay', 'pattern', '8M', 'rdelay=60');
    const target = await temporary();
    const copying = start(['nbd', 'copy', stuck, join(target, 'disk')]);
    while (readdirSync(target).length === 0) await sleep(20);
    await sleep(300);
    copying.child.kill('SIGINT');
    await sleep(700);
    copying.child.kill('SIGINT');
    expect((await copying.ended).status).toBe(130);
    expect(readdirSync(target)).toEqual([]);
  });
});

/** The file by ranges. @returns its URL */
async function webServer(path: string): Promise<string> {
  const content = await readFile(path);
  const server = createHttpServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const part = content.subarray(Number(first), Number(last) + 1);
    const range = `bytes ${first}-${Number(first) + part.length - 1}/${content.length}`;
    response.writeHead(206, { etag: '"one"', 'content-range': range }).end(part);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.img`;
}
