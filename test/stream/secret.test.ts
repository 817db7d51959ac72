/**
 * Only PID 1 can access the disks of a machine with a served root: no program in the machine can, and no other user of
 * the host.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { application, request, freePort, start, temporary } from '../support.js';

/** Looks for a secret in all readable places, and talks NBD to the host like a client. */
const SPY = `
  const fs = require('fs'), http = require('http'), net = require('net');
  const read = (path) => { try { return fs.readFileSync(path, 'latin1'); } catch { return ''; } };
  const inside = (folder, depth) => {
    let names = [];
    try { names = fs.readdirSync(folder, { withFileTypes: true }); } catch {}
    return names.flatMap((entry) => {
      const path = folder + '/' + entry.name;
      return entry.isFile() ? [path] : entry.isDirectory() && depth > 0 ? inside(path, depth - 1) : [];
    });
  };
  const places = () => ['/proc/cmdline', '/proc/self/mounts', '/proc/1/cmdline', '/proc/1/environ', '/proc/1/maps', '/nbd/secret',
    ...inside('/nbd', 1), ...inside('/tls', 1), ...inside('/var/log', 2), ...inside('/sys/block/nbd0/', 1), ...inside('/sys/block/nbd1/', 1), ...inside('/etc', 3), ...inside('/dev/disk', 2)];
  const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b; };
  const option = (number, data) => Buffer.concat([Buffer.from('IHAVEOPT'), u32(number), u32(data.length), data]);
  const go = (name) => option(7, Buffer.concat([u32(name.length), Buffer.from(name), Buffer.alloc(2)]));
  const talk = (port, message) => new Promise((resolve) => {
    const socket = net.connect(port, '10.0.2.2');
    const parts = [];
    socket.on('data', (part) => {
      if (parts.length === 0) socket.write(Buffer.concat([u32(3), message]));
      parts.push(part);
      const said = Buffer.concat(parts);
      if (said.length >= 18 + 20) { resolve(said.readUInt32BE(18 + 12)); socket.destroy(); }
    });
    socket.on('error', (error) => resolve(error.code));
    socket.on('close', () => resolve('closed'));
  });
  const answers = {
    found: (secret) => places().filter((path) => read(path).includes(secret)),
    seen: () => places().filter((path) => read(path) !== '').length,
    user: () => process.getuid(),
    list: (port) => talk(Number(port), option(3, Buffer.alloc(0))),
    go: (port, name) => talk(Number(port), go(name)),
    open: () => ['/dev/nbd0', '/dev/nbd1'].map((path) => { try { fs.openSync(path); return 'open'; } catch (error) { return error.code; } }),
    write: () => { fs.writeFileSync('/home/app/note', 'kept'); return 'written'; },
  };
  http.createServer(async (request, response) => {
    const [, name, ...words] = request.url.split('/');
    response.end(JSON.stringify(await answers[name](...words)));
  }).listen(80);
`;

const [POLICY, UNKNOWN] = [0x80000002, 0x80000006];

/** Runs a program as an unprivileged user of this host. */
const asNobody = (program: string, ...args: string[]): ReturnType<typeof spawnSync> & { readonly stdout: string } =>
  spawnSync('setpriv', ['--reuid', '65534', '--regid', '65534', '--clear-groups', '--', program, ...args], {
    encoding: 'utf8',
    timeout: 20_000,
  });

/** The QEMU processes with a word on their command line. */
const qemus = (word: string): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      return line.startsWith('qemu-system') && line.includes(word);
    } catch {
      return false;
    }
  });

describe.skipIf(process.getuid?.() !== 0)('the root of a machine and its changes', () => {
  it.each(['nbd', 'nbds'])('cannot be accessed by anybody else (--root %s)', async (root) => {
    const app = await application({ 'main.js': SPY });
    const [TMPDIR, folder, port] = [await temporary(), await temporary(), await freePort()];
    const file = join(folder, 'changes.ext4');
    const words = ['start', app, '--root', root, '--persist', file, '--trace', join(folder, 'trace')];
    const machine = start([...words, '--publish', `${port}:80`], { env: { TMPDIR } });
    const get = async (path: string): Promise<unknown> => (await request(`http://127.0.0.1:${port}/${path}`)).json();
    expect(await get('user')).toBe(1000);
    expect(await get('write')).toBe('written');

    const [key = ''] = readdirSync(TMPDIR);
    const archive = readFileSync(join(TMPDIR, key, 'initramfs'), 'latin1');
    const [secret = ''] = /(?<=nbd\/secret\0+)[0-9a-f]{32}/.exec(archive) ?? [];
    expect(secret).toHaveLength(32);
    expect(statSync(join(TMPDIR, key)).mode & 0o777).toBe(0o700);
    for (const path of [join(TMPDIR, key, 'initramfs'), file, join(folder, 'trace')])
      expect([path, statSync(path).mode & 0o077]).toEqual([path, 0]);

    // On the host.
    const [pid = '', ...others] = qemus(join(TMPDIR, key));
    expect(others).toEqual([]);
    const { stdout: line } = asNobody('cat', `/proc/${pid}/cmdline`);
    const [, served = '', name = '', upper = ''] =
      /root=nbds?:\/\/(?:guest@)?10\.0\.2\.2:(\d+)\/(\S*).*nodeos\.upper=nbds?:\/\/[^/]*\/(\S*)/s.exec(line) ?? [];
    expect([name, upper]).toEqual(['root-', 'upper-']);
    expect(line).not.toContain(secret);
    const [, socket = ''] = /path=([^,\0]*)/.exec(line) ?? [];
    for (const path of [join(TMPDIR, key, 'initramfs'), dirname(socket), socket])
      expect([path, asNobody('cat', path).stderr]).toEqual([path, expect.stringContaining('Permission denied')]);
    for (const export_ of [name, upper, '', 'root', 'upper'])
      expect([export_, asNobody('nbdinfo', '--size', `nbd://127.0.0.1:${served}/${export_}`).status]).toEqual([
        export_,
        1,
      ]);
    expect(asNobody('nbdinfo', '--list', `nbd://127.0.0.1:${served}`).status).toBe(1);

    // In the guest, as the application.
    expect(await get('seen')).toBeGreaterThan(10);
    expect(await get(`found/${secret}`)).toEqual([]);
    expect(await get('open')).toEqual(['EACCES', 'EACCES']);
    const refusal = root === 'nbd' ? [POLICY, UNKNOWN] : [0x80000005, 0x80000005];
    expect([await get(`list/${served}`), await get(`go/${served}/upper-`)]).toEqual(refusal);

    // The secret does grant access. Otherwise this test would pass even if nobody could connect at all.
    if (root === 'nbd') {
      const size = asNobody('nbdinfo', '--size', `nbd://127.0.0.1:${served}/upper-${secret}`);
      expect(Number(size.stdout)).toBe(8 * 2 ** 30);
    }
    machine.child.kill('SIGINT');
    const { stdout, stderr } = await machine.ended;
    expect(stdout + stderr).not.toContain(secret);
    expect(readdirSync(TMPDIR)).toEqual([]);
  });
});
