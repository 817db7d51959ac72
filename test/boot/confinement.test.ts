/** The privileges of an application: it tries everything and reports the results. */
import { describe, expect, it } from 'vitest';
import { application, freePort, nodeos, valueOf } from '../support.js';

/** Maps an errno to its name, as in `os.constants.errno`. */
const ATTEMPTS = `
  const fs = require('fs'), os = require('os'), net = require('net'), dgram = require('dgram');
  const { Worker } = require('worker_threads');
  const { execFileSync } = require('child_process');
  const { once } = require('events');
  const syscall = require('/sbin/syscalls.node');
  const names = new Map(Object.entries(os.constants.errno).map(([name, number]) => [number, name]));
  const outcome = (result) => (result < 0 ? (names.get(-result) ?? String(-result)) : 'done');
  const attempt = (work) => { try { work(); return 'done'; } catch (error) { return error.code ?? error.message; } };
  const read = (path) => fs.readFileSync(path, 'utf8').trim();

  const FIELDS = ['Uid', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp'];
  const statusOf = (path) => FIELDS.map((name) => new RegExp('^' + name + ':\\\\s+(\\\\S+)', 'm').exec(fs.readFileSync(path, 'utf8'))[1]).join(' ');
  const inWorker = (code) => new Promise((resolve, reject) => new Worker(code, { eval: true }).on('message', resolve).on('error', reject));

  const calls = () => {
    const path = Buffer.alloc(64), CALLS = {
      mount: [165, 'none', '/tmp', 'tmpfs', 0, null], umount2: [166, '/tmp', 0], pivot_root: [155, '/', '/'], fsopen: [430, 'tmpfs', 0],
      unshare: [272, 0x00020000], setns: [308, 0, 0], clone3: [435, Buffer.alloc(88), 88], chroot: [161, '/tmp'],
      init_module: [175, path, 64, ''], kexec_load: [246, 0, 0, null, 0], bpf: [321, 0, path, 64], perf_event_open: [298, path, 0, -1, -1, 0],
      io_uring_setup: [425, 1, Buffer.alloc(120)], userfaultfd: [323, 1], keyctl: [250, 0, -3, 0], add_key: [248, 'user', 'x', 'y', 1, -3],
      open_by_handle_at: [304, 3, path, 0], fanotify_init: [300, 0x200, 0], reboot: [169, 0, 0, 0], sethostname: [170, 'x', 1],
      clock_settime: [227, 0, Buffer.alloc(16)], syslog: [103, 3, path, 64], iopl: [172, 3], x32: [0x40000000 + 39], newer: [463],
    };
    return Object.fromEntries(Object.entries(CALLS).map(([name, call]) => [name, outcome(syscall(...call))]));
  };
  const cloned = (flags) => { const pid = syscall(56, flags | 17, 0, 0, 0, 0); if (pid === 0) syscall(231, 0); return outcome(pid); };
  const sockets = (...list) => Object.fromEntries(list.map(([name, family, type, protocol = 0]) => [name, outcome(syscall(41, family, type, protocol))]));
  const listening = (server, listen) => new Promise((resolve) => { server.once('listening', () => { server.close(); resolve('done'); }).once('error', (error) => resolve(error.code)); listen(server); });
  const tcp = (port) => listening(net.createServer(), (server) => server.listen(port, '127.0.0.1'));
  const udp = (port) => listening(dgram.createSocket('udp4'), (socket) => socket.bind(port));

  const works = async () => {
    const { DatabaseSync } = require('node:sqlite');
    const database = new DatabaseSync(process.env.HOME + '/data.db');
    database.exec('create table t (a); insert into t values (42)');
    fs.writeFileSync('/tmp/watched', '');
    const watched = await new Promise((resolve) => { const w = fs.watch('/tmp', (e, name) => { w.close(); resolve(name); }); setTimeout(() => fs.writeFileSync('/tmp/watched', 'x'), 50); });
    const server = require('http').createServer((q, r) => r.end('served')).listen(80);
    await once(server, 'listening');
    const fetched = await (await fetch('http://localhost:80')).text();
    server.close();
    const wasm = await WebAssembly.instantiate(Buffer.from('0061736d0100000001050160000 17f03020100070501016600000a0601040041 2a0b'.replaceAll(' ', ''), 'hex'));
    return {
      sqlite: database.prepare('select a from t').get().a, watched, fetched, wasm: wasm.instance.exports.f(), interfaces: Object.keys(os.networkInterfaces()),
      worker: await inWorker("require('worker_threads').parentPort.postMessage(6 * 7)"),
      child: execFileSync(process.execPath, ['-p', '6 * 7'], { encoding: 'utf8' }).trim(),
      asynchronously: await new Promise((resolve) => require('child_process').execFile(process.execPath, ['-p', '6 * 7'], (error, out) => resolve(out.trim()))),
      compressed: require('zlib').gzipSync('x').length > 0, hashed: require('crypto').pbkdf2Sync('a', 'b', 1, 8, 'sha256').length,
    };
  };

  (async () => {
    const tasks = fs.readdirSync('/proc/self/task');
    const statusCode = 'const fs = require("fs"); const FIELDS = ' + JSON.stringify(FIELDS) + '; const statusOf = ' + statusOf.toString() + ';';
    const report = {
      threads: tasks.length,
      statuses: [...new Set(tasks.filter((id) => Number(id) !== process.pid).map((id) => statusOf('/proc/self/task/' + id + '/status').replace(/ \\S+(?= \\S+ \\S+ \\S+$)/, '')))],
      main: statusOf('/proc/self/status'),
      worker: await inWorker(statusCode + 'require("worker_threads").parentPort.postMessage(statusOf("/proc/thread-self/status"))'),
      child: execFileSync(process.execPath, ['-e', statusCode + 'console.log(statusOf("/proc/self/status"))'], { encoding: 'utf8' }).trim(),
      calls: calls(), inWorker: await inWorker("const syscall = require('/sbin/syscalls.node'); require('worker_threads').parentPort.postMessage(syscall(165, 'none', '/tmp', 'tmpfs', 0, null))"),
      clones: { user: cloned(0x10000000), network: cloned(0x40000000), mounts: cloned(0x00020000) },
      sockets: sockets(['unix', 1, 1], ['tcp', 2, 1], ['udp6', 10, 2], ['netlink', 16, 3], ['packet', 17, 3], ['raw', 2, 3, 1], ['alg', 38, 5], ['vsock', 40, 1]),
      ports: { 79: await tcp(79), 80: await tcp(80), 53: await udp(53), 68: await udp(68), 81: await udp(81) },
      processes: fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).map(Number).filter((id) => id !== process.pid), first: fs.existsSync('/proc/1'),
      settings: ['fs/protected_symlinks', 'fs/protected_hardlinks', 'fs/protected_fifos', 'fs/protected_regular', 'kernel/sysrq', 'kernel/kptr_restrict', 'kernel/io_uring_disabled', 'user/max_user_namespaces', 'kernel/shm_rmid_forced', 'kernel/msgmni', 'kernel/yama/ptrace_scope'].map((name) => Number(read('/proc/sys/' + name))),
      files: /^Max open files +(\\d+) +(\\d+)/m.exec(read('/proc/self/limits')).slice(1, 3).map(Number),
      own: { environ: attempt(() => { if (!read('/proc/self/environ').includes('=')) throw new Error('empty'); }), fds: attempt(() => fs.readdirSync('/proc/self/fd')), maps: attempt(() => read('/proc/self/maps')) },
      outputs: ['/dev/stdout', '/dev/stderr', '/proc/self/fd/1'].map((path) => attempt(() => fs.appendFileSync(path, 'by way of ' + path + '\\n'))),
      system: { etc: attempt(() => fs.writeFileSync('/etc/x', '')), app: attempt(() => fs.writeFileSync('/app/x', '')), proc: attempt(() => fs.writeFileSync('/proc/sys/kernel/sysrq', '1')), group: attempt(() => fs.writeFileSync('/sys/fs/cgroup/app/memory.max', 'max')), out: attempt(() => fs.writeFileSync('/sys/fs/cgroup/cgroup.procs', '0')), lease: attempt(() => fs.readdirSync('/run/nodeos')) },
      group: read('/proc/self/cgroup'), constrained: process.constrainedMemory() / os.totalmem(), pids: Number(read('/sys/fs/cgroup/app/pids.max')),
      sizes: Object.fromEntries(['/', '/home/app', '/tmp', '/dev/shm', '/run', '/var/log'].map((path) => { const s = fs.statfsSync(path); return [path, s.blocks * s.bsize / os.totalmem()]; })),
      works: await works(),
    };
    process.stdout.write('REPORT ' + JSON.stringify(report) + '\\n');
    process.exit(0);
  })();
`;

interface Report {
  readonly threads: number;
  readonly constrained: number;
  readonly pids: number;
  readonly sizes: Readonly<Record<string, number>>;
}

const NONE = '0000000000000000';
/** Uid, five sets of capabilities, no_new_privs, seccomp. */
const CONFINED = `1000 ${NONE} ${NONE} ${NONE} ${NONE} ${NONE} 1 2`;

describe('an application that is not root', () => {
  it.each([
    ['in the process of the init', { main: 'main.js' }],
    ['that Node.js was started for once more', { scripts: { start: 'node --no-deprecation main.js' } }],
  ])('can do its work and nothing else, %s', async (_, manifest) => {
    const app = await application({ 'main.js': ATTEMPTS }, manifest);
    const once = ['--append', 'nodeos.restart=never', '--timeout', '90'];
    const result = await nodeos('start', app, '--publish', `${await freePort()}:80`, ...once);
    expect(result.status, result.stdout + result.stderr).toBe(0);
    const report = JSON.parse(/^REPORT (.*)$/m.exec(result.stdout)?.[1] ?? '{}') as Report;
    expect(report).toMatchObject({
      // Without the bounding set: earlier threads of Node.js still have it, but they start no programs.
      statuses: [CONFINED.replace(` ${NONE}`, '')],
      main: CONFINED,
      worker: CONFINED,
      child: CONFINED,
      calls: {
        mount: 'EPERM',
        umount2: 'EPERM',
        pivot_root: 'EPERM',
        fsopen: 'EPERM',
        unshare: 'EPERM',
        setns: 'EPERM',
        clone3: 'ENOSYS',
        chroot: 'EPERM',
        init_module: 'EPERM',
        kexec_load: 'EPERM',
        bpf: 'EPERM',
        perf_event_open: 'EPERM',
        io_uring_setup: 'ENOSYS',
        userfaultfd: 'EPERM',
        keyctl: 'EPERM',
        add_key: 'EPERM',
        open_by_handle_at: 'EPERM',
        fanotify_init: 'EPERM',
        reboot: 'EPERM',
        sethostname: 'EPERM',
        clock_settime: 'EPERM',
        syslog: 'EPERM',
        iopl: 'EPERM',
        x32: 'ENOSYS',
        newer: 'ENOSYS',
      },
      inWorker: -1,
      clones: { user: 'EPERM', network: 'EPERM', mounts: 'EPERM' },
      sockets: {
        unix: 'done',
        tcp: 'done',
        udp6: 'done',
        netlink: 'done',
        packet: 'EAFNOSUPPORT',
        raw: 'EPERM',
        alg: 'EAFNOSUPPORT',
        vsock: 'EAFNOSUPPORT',
      },
      ports: { 79: 'EACCES', 80: 'done', 53: 'EACCES', 68: 'EACCES', 81: 'done' },
      processes: [],
      first: false,
      settings: [1, 1, 2, 2, 16, 2, 2, 0, 1, 128, 1],
      files: [524288, 524288],
      own: { environ: 'done', fds: 'done', maps: 'done' },
      outputs: ['done', 'done', 'done'],
      system: { etc: 'EACCES', app: 'EACCES', proc: 'EACCES', group: 'EACCES', out: 'EACCES', lease: 'EACCES' },
      group: '0::/app',
      works: {
        sqlite: 42,
        watched: 'watched',
        fetched: 'served',
        wasm: 42,
        interfaces: ['lo', 'eth0'],
        worker: 42,
        child: '42',
        asynchronously: '42',
        compressed: true,
        hashed: 8,
      },
    });
    expect(report.threads).toBeGreaterThan(4);
    for (const path of ['/dev/stdout', '/dev/stderr', '/proc/self/fd/1'])
      expect(result.stdout).toContain(`by way of ${path}`);
    expect(report.constrained).toBeGreaterThan(0.6);
    expect(report.constrained).toBeLessThan(1);
    expect(report.pids).toBeGreaterThan(100);
    const sizes = Object.values(report.sizes);
    for (const size of sizes) expect(size).toBeGreaterThan(0);
    // Even if all of them are full, the application has enough memory.
    expect(sizes.reduce((a, b) => a + b)).toBeLessThan(0.8);
  });
});

describe('code that is root', () => {
  it('keeps the privileges of root within the same bounds', async () => {
    const code = `
      const status = fs.readFileSync('/proc/self/status', 'utf8');
      const of = (name) => new RegExp('^' + name + ':\\\\s+(\\\\S+)', 'm').exec(status)[1];
      fs.mkdirSync('/tmp/mounted');
      const number = require('/sbin/syscalls.node')(165, 'none', '/tmp/mounted', 'tmpfs', 0, null);
      return [of('Seccomp'), of('NoNewPrivs'), of('CapEff') === of('CapBnd'), number, fs.existsSync('/proc/1/status'), fs.readFileSync('/proc/self/cgroup', 'utf8').trim(), fs.statfsSync('/').blocks > 0]`;
    expect(await valueOf(code)).toEqual(['0', '0', true, 0, true, '0::/app', true]);
  });
});
