import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exec, temporary, valueOf } from '../support.js';

describe('--exec', () => {
  it('passes both outputs through separately, byte for byte', async () => {
    const { status, stdout, stderr } = await exec(
      'process.stdout.write("a\\nü\\t"); process.stderr.write("problem\\n")',
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'a\nü\t' });
    expect(stderr).toContain('problem\n');
  });

  it('passes a large output through', async () => {
    const { stdout } = await exec('for (let i = 0; i < 20000; i++) console.log("line " + i)');
    expect(stdout.split('\n')).toHaveLength(20001);
    expect(stdout.endsWith('line 19999\n')).toBe(true);
  });

  it.each([
    ['process.exit(7)', 7],
    ['throw new Error("thrown")', 1],
    ['await new Promise((r) => setTimeout(r, 10)); process.exitCode = 5', 5],
    ['process.kill(process.pid, "SIGKILL")', 137],
  ])('returns the status of %s', async (code, status) => {
    expect((await exec(code)).status).toBe(status);
  });

  it('passes on the given variables', async () => {
    const value = await valueOf(
      'return [process.env.GREETING, process.env.B]',
      '--env',
      'GREETING=a=b "c"',
      '--env',
      'B=',
    );
    expect(value).toEqual(['a=b "c"', '']);
  });

  it('runs on a microvm too', async () => {
    expect(await valueOf('return os.networkInterfaces().eth0[0].address', '--machine', 'microvm')).toBe('10.0.2.15');
  });

  it('gives the guest the requested memory and processors', async () => {
    const code = 'return [os.availableParallelism(), Math.round(os.totalmem() / 2 ** 20)]';
    const [cpus, memory] = (await valueOf(code, '--cpus', '2', '--memory', '512M')) as [number, number];
    expect(cpus).toBe(2);
    expect(memory).toBeGreaterThan(450);
  });
});

describe('the runtime', () => {
  const where = `
    const mount = fs.readFileSync('/proc/mounts', 'utf8').split('\\n').find((line) => line.split(' ')[1] === '/usr');
    return [mount?.split(' ') ?? [], process.execPath];`;

  it.each([
    ['is mapped from memory on a PC', ['--machine', 'q35'], '/dev/pmem0', /^ro,nosuid,nodev,.*dax/],
    ['is read from a disk on a microvm', ['--machine', 'microvm'], '/dev/vda', /^ro,nosuid,nodev/],
  ])('%s', async (_how, options, device, flags) => {
    const [mount, path] = (await valueOf(where, ...options)) as [string[], string];
    expect(mount.slice(0, 4)).toEqual([device, '/usr', 'erofs', expect.stringMatching(flags)]);
    expect(path).toBe('/usr/bin/node');
  });

  it.each(['q35', 'microvm'])('can be in the initramfs on a %s', async (machine) => {
    expect(await valueOf(where, '--runtime', 'initramfs', '--machine', machine)).toEqual([[], '/usr/bin/node']);
  });

  it('keeps its device if the user adds a disk', async () => {
    const disk = join(await temporary(), 'data,1.img');
    await writeFile(disk, 'of the user'.padEnd(4096, '.'));
    const drive = ['--', '-drive', `file=${disk.replaceAll(',', ',,')},if=virtio,format=raw`];
    const code = "return fs.readFileSync('/sys/block/vda/size', 'utf8').trim()";
    expect(await valueOf(code, ...drive)).toBe('8');
  });

  it('is named if it is missing', async () => {
    const { status, stderr } = await exec('1', '--append', 'mount.usr=/dev/none');
    expect(status).toBe(1);
    expect(stderr).toContain('nodeos: mount erofs /dev/none on /usr: error 2');
  });
});

describe('the system', () => {
  it('has its mounts, devices, names, time and network', async () => {
    const system = (await valueOf(`
      const read = (p) => fs.readFileSync(p, 'utf8');
      const answer = await new Promise((resolve) => require('dns').lookup('localhost', (e, a) => resolve(a ?? e.code)));
      return {
        mounts: read('/proc/mounts').split('\\n').filter(Boolean).map((l) => l.split(' ')[1]),
        tmp: (fs.statSync('/tmp').mode & 0o7777).toString(8),
        host: os.hostname(), hosts: read('/etc/hosts'), dns: read('/etc/resolv.conf'), answer,
        year: new Date().getFullYear(), loopback: os.networkInterfaces().lo.map((i) => i.address),
        route: read('/proc/net/route').split('\\n')[1].split('\\t').slice(0, 3),
        kernel: os.release(), node: process.version, random: require('crypto').randomBytes(4).length,
        pts: fs.existsSync('/dev/pts/ptmx'), shm: fs.existsSync('/dev/shm'), fd: fs.readlinkSync('/dev/fd'),
      }`)) as Record<string, unknown>;
    expect(system).toMatchObject({
      mounts: expect.arrayContaining([
        '/proc',
        '/sys',
        '/dev',
        '/dev/pts',
        '/dev/shm',
        '/run',
        '/tmp',
        '/sys/fs/cgroup',
      ]),
      tmp: '1777',
      host: 'nodeos',
      dns: 'nameserver 10.0.2.3\n',
      answer: expect.stringMatching(/^(127\.0\.0\.1|::1)$/), // musl puts IPv6 first
      year: new Date().getFullYear(),
      loopback: expect.arrayContaining(['127.0.0.1']),
      route: ['eth0', '00000000', '0202000A'],
      kernel: '6.12.118-nodeos',
      node: 'v26.12.1',
      random: 4,
      pts: true,
      fd: '/proc/self/fd',
    });
  });

  it('keeps the network setup of ip=', async () => {
    const code = "return [os.networkInterfaces().eth0[0].address, fs.readFileSync('/etc/resolv.conf', 'utf8')]";
    expect(await valueOf(code, '--append', 'ip=dhcp')).toEqual(['10.0.2.15', 'nameserver 10.0.2.3\n']);
  });

  it('renews its lease', async () => {
    const code = `
      const file = '/run/nodeos/leases.json';
      const leases = () => JSON.parse(fs.readFileSync(file, 'utf8'));
      const due = leases().map((lease) => ({ ...lease, renewAt: 0 }));
      fs.writeFileSync(file, JSON.stringify(due));
      const child = require('child_process').spawnSync('/bin/node', ['/sbin/init', 'renew'], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
      return { status: child.status, told: child.output[3].toString(), renewed: leases()[0].renewAt > 0, address: leases()[0].address }`;
    expect(await valueOf(code)).toEqual({ status: 0, told: 'renew 43200\n', renewed: true, address: '10.0.2.15' });
  });

  it('has the filesystems, devices and system calls that the kernel fragments promise', async () => {
    const kernel = (await valueOf(`
      const read = (p) => fs.readFileSync(p, 'utf8');
      return {
        filesystems: read('/proc/filesystems').split('\\n').map((l) => l.split('\\t')[1]),
        nbd: fs.existsSync('/sys/block/nbd0'), fuse: fs.existsSync('/dev/fuse'), cuse: fs.existsSync('/dev/cuse'),
        vsock: read('/proc/net/protocols').includes('AF_VSOCK'), ipv6: fs.existsSync('/proc/net/if_inet6'),
        namespaces: fs.readdirSync('/proc/self/ns').length, seccomp: /Seccomp:/.test(read('/proc/self/status')),
        controllers: read('/sys/fs/cgroup/cgroup.controllers').trim().split(' '), uring: fs.existsSync('/proc/sys/kernel/io_uring_disabled'),
      }`)) as { filesystems: string[]; namespaces: number; controllers: string[] };
    expect(kernel.filesystems).toEqual(
      expect.arrayContaining([
        'ext4',
        'erofs',
        'squashfs',
        'vfat',
        'iso9660',
        'overlay',
        'fuse',
        '9p',
        'virtiofs',
        'tmpfs',
        'cgroup2',
      ]),
    );
    expect(kernel.controllers).toEqual(expect.arrayContaining(['cpu', 'memory', 'pids', 'io']));
    expect(kernel.namespaces).toBeGreaterThanOrEqual(8);
    expect(kernel).toMatchObject({
      nbd: true,
      fuse: true,
      cuse: true,
      vsock: true,
      ipv6: true,
      seccomp: true,
      uring: true,
    });
  });

  it('runs the features of Node.js: workers, crypto, fetch, Intl, file watching, child processes', async () => {
    const node = await valueOf(`
      const { Worker } = require('worker_threads');
      const worker = await new Promise((resolve) => new Worker('require("worker_threads").parentPort.postMessage(6 * 7)', { eval: true }).on('message', resolve));
      const server = require('http').createServer((q, r) => r.end('served')).listen(0);
      const fetched = await (await fetch('http://127.0.0.1:' + server.address().port)).text();
      server.close();
      fs.writeFileSync('/tmp/watched', '');
      const watched = await new Promise((resolve) => { const w = fs.watch('/tmp', (e, f) => { w.close(); resolve(f); }); setTimeout(() => fs.writeFileSync('/tmp/watched', 'x'), 50); });
      const child = require('child_process').execFileSync('/bin/node', ['-p', '"child " + process.pid'], { encoding: 'utf8' });
      return { worker, fetched, watched, child: child.slice(0, 5), hash: require('crypto').createHash('sha256').update('').digest('hex').slice(0, 8), intl: new Intl.NumberFormat('de').format(1234.5) }`);
    expect(node).toEqual({
      worker: 42,
      fetched: 'served',
      watched: 'watched',
      child: 'child',
      hash: 'e3b0c442',
      intl: '1.234,5',
    });
  });

  it('copies, links, moves and removes files', async () => {
    const files = await valueOf(`
      const top = fs.mkdtempSync('/tmp/files-');
      process.chdir(top);
      fs.mkdirSync('a/b', { recursive: true });
      fs.writeFileSync('a/b/file', 'content', { mode: 0o640 });
      fs.symlinkSync('b/file', 'a/link');
      fs.cpSync('a', 'copy', { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
      fs.cpSync('a/b/file', 'one');
      await fs.promises.cp('a', 'other', { recursive: true });
      fs.linkSync('one', 'same');
      fs.renameSync('copy', 'moved');
      const listed = fs.readdirSync('.', { recursive: true }).sort();
      const read = [fs.readFileSync('moved/link', 'utf8'), fs.readlinkSync('moved/link'), fs.statSync('moved/b/file').mode & 0o777, fs.statSync('one').nlink];
      const globbed = fs.globSync('**/file').sort();
      process.chdir('/');
      fs.rmSync(top, { recursive: true });
      return { listed, read, globbed, left: fs.existsSync(top) }`);
    expect(files).toEqual({
      listed: ['a', 'a/b', 'a/b/file', 'a/link', 'moved', 'moved/b', 'moved/b/file', 'moved/link', 'one', 'other', 'other/b', 'other/b/file', 'other/link', 'same'], // prettier-ignore
      read: ['content', 'b/file', 0o640, 2],
      globbed: ['a/b/file', 'moved/b/file', 'other/b/file'],
      left: false,
    });
  });

  it('reports a missing network and continues', async () => {
    const { status, stdout, stderr } = await exec('console.log("goes on")', '--no-network', '--events');
    expect({ status, stderr: stderr.replace(/^nodeos: software.*\n/m, '') }).toMatchObject({ status: 0 });
    expect(stdout).toContain('"step":"network"');
    expect(stdout).toContain('there is no network interface');
    expect(stdout).toContain('goes on\n');
  });
});
