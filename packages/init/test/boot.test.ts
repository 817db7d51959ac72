import { describe, expect, it } from 'vitest';
import { runRole } from '../guest/roles.js';
import { filter } from '../guest/seccomp.js';
import { EVENT_PORT, Recorder, system, wiredMachine } from './recorder.js';
import { server } from './server.js';

const CONSOLE = { '/sys/class/tty/console/active': 'ttyS0\n', '/proc/sys/kernel/osrelease': '6.12.1-nodeos\n' };
const APP = {
  name: '@scope/My App',
  main: '/app/server.js',
  args: ['--verbose'],
  cwd: '/app',
  env: { GREETING: 'hello', PORT: '8080' },
};
const app = (changes: object = {}): Record<string, string> => system({ ...APP, ...changes });
const run = (settings: object): Record<string, string> => ({
  '/run/nodeos/settings.json': JSON.stringify(settings),
});
const cmdline = (line: string): Record<string, string> => ({ '/proc/cmdline': `${line}\n` });

/** Plays a role to its end. The last line of the trace is the program that ran in this process. */
function played(role: string, sys: Recorder): { ok: boolean; environment: Readonly<Record<string, string>> } {
  let environment: Readonly<Record<string, string>> = {};
  const ok = runRole(role, sys, {
    main(main, args, env) {
      environment = env;
      sys.trace.push(`runMain ${main} ${JSON.stringify(args)}`);
    },
    first(args, env) {
      sys.trace.push(`first ${JSON.stringify(args)} ${env['STAGE'] ?? ''}`);
      return Number(env['STATUS'] ?? 0);
    },
    supervise: (control, order, nodeArgs, cwd) =>
      void sys.trace.push(`supervise ${JSON.stringify([control, order.main, order.inspect ?? null, nodeArgs, cwd])}`),
    end: (status) => void sys.trace.push(`end ${status}`),
  });
  return { ok, environment };
}

/** The environment of the program that was executed. */
function executed(sys: Recorder): Readonly<Record<string, string>> | undefined {
  runRole('boot', sys);
  return sys.executed;
}

/** The mounts of the recorder's machine, which has 100 MiB of free memory. */
const MOUNTS = [
  'symlink /dev/fd /proc/self/fd',
  'symlink /dev/stdin /proc/self/fd/0',
  'symlink /dev/stdout /proc/self/fd/1',
  'symlink /dev/stderr /proc/self/fd/2',
  // with 3 MiB in use
  'mount / rootfs rootfs 32 size=23552k',
  'mkdir /dev/pts 755',
  'mount /dev/pts devpts devpts 10 gid=5,mode=620,ptmxmode=666',
  'mkdir /dev/shm 755',
  'mount /dev/shm tmpfs tmpfs 14 mode=1777,size=5120k,nr_inodes=1280',
  'mkdir /run 755',
  'mount /run tmpfs tmpfs 6 mode=755,size=5120k,nr_inodes=1280',
  'mkdir /tmp 755',
  'mount /tmp tmpfs tmpfs 6 mode=1777,size=20480k,nr_inodes=5120',
  'mkdir /home/app 755',
  'mount /home/app tmpfs tmpfs 6 mode=755,uid=1000,gid=1000,size=35840k,nr_inodes=8960',
  'mkdir /run/nodeos 700',
];
const SETTINGS = [
  'write /proc/sys/net/ipv4/ip_unprivileged_port_start "80"',
  'write /proc/sys/user/max_user_namespaces "0"',
  'write /proc/sys/kernel/kptr_restrict "2"',
  'write /proc/sys/kernel/sysrq "16"',
  'write /proc/sys/kernel/yama/ptrace_scope "1"',
  'write /proc/sys/kernel/shm_rmid_forced "1"',
  'write /proc/sys/kernel/msgmni "128"',
  'write /proc/sys/kernel/sem "250 32000 32 128"',
  'write /proc/sys/fs/protected_symlinks "1"',
  'write /proc/sys/fs/protected_hardlinks "1"',
  'write /proc/sys/fs/protected_fifos "2"',
  'write /proc/sys/fs/protected_regular "2"',
];
/** The three capabilities of the recorder's machine, the user, its own /proc, no new privileges, the filter. */
const CONFINED = [
  'chown 1 1000 1000',
  'chown 2 1000 1000',
  'control 24 0',
  'control 24 1',
  'control 24 2',
  'setIdentity 1000 1000',
  'control 4 1',
  'control 38 1',
  `setFilter ${filter('x86_64').length / 8}`,
];
const hostname = (name: string): string[] => [
  `setHostName ${name}`,
  `write /etc/hostname "${name}\\n"`,
  `write /etc/hosts "127.0.0.1 localhost ${name}\\n::1 localhost ${name}\\n"`,
];

describe('the boot to a REPL', () => {
  it('makes these calls in this order', () => {
    const sys = new Recorder({ ...CONSOLE, ...EVENT_PORT, ...cmdline('nodeos.network=off') });
    played('boot', sys);
    const step = (name: string): string => `print 4 {"event":"step","step":"${name}"}`;
    expect(sys.trace.slice(0, -1)).toEqual([
      'print 4 {"event":"node","role":"boot"}',
      ...MOUNTS,
      step('mounts'),
      step('data'),
      ...SETTINGS,
      step('settings'),
      step('random seed'),
      step('clock'),
      ...hostname('nodeos'),
      step('hostname'),
      step('network'),
      step('time'),
      'print 3 restart never',
      'print 3 attempts 0',
      'print 3 booted',
      'open /dev/ttyS0 258 = 10',
      'ioctl 10 0x540e 1',
      'duplicate 10 0',
      'duplicate 10 1',
      'duplicate 10 2',
      `print 1 NodeOS: Node.js ${process.version} on Linux 6.12.1-nodeos. Nothing else runs here.\nTo leave: .exit, or Ctrl-D twice on an empty line.`,
      'print 4 {"event":"repl"}',
      'close 3',
      'close 4',
      'chdir /root',
      'execute /bin/node ["/bin/node"]',
    ]);
  });

  it('gives the REPL a terminal of the given size and the environment from the host', () => {
    const sys = new Recorder({
      ...CONSOLE,
      ...cmdline('nodeos.network=off'),
      ...run({ columns: 132, rows: 43, env: { COLOR: '1' } }),
    });
    expect(executed(sys)).toEqual({
      PATH: '/bin:/sbin',
      LANG: 'C.UTF-8',
      HOME: '/root',
      TERM: 'linux',
      NODE_REPL_HISTORY: '',
      COLOR: '1',
    });
    expect(sys.linesOf('ioctl')).toEqual(['ioctl 10 0x540e 1', 'ioctl 10 0x5414 2b0084']);
  });

  it('asks PID 1 for a terminal on all consoles if there are several, and takes the last one if that fails', () => {
    const consoles = { ...CONSOLE, '/sys/class/tty/console/active': 'tty0 ttyS0\n' };
    const sys = new Recorder({ ...consoles, '/dev/pts/0': '' });
    played('shell', sys);
    expect(sys.linesOf('print', 'open')).toContain('print 3 terminal');
    expect(sys.linesOf('open')).toEqual(['open /dev/pts/0 258 = 10']);
    const locked = new Recorder({ ...consoles, '/dev/pts/0': '' });
    const open = locked.open.bind(locked);
    let tries = 0;
    locked.open = (path, flags) => {
      if (path === '/dev/pts/0' && ++tries < 3) throw new Error('EIO');
      return open(path, flags);
    };
    played('shell', locked);
    expect(locked.linesOf('open')).toEqual(['open /dev/pts/0 258 = 10']);
    const without = new Recorder(consoles);
    played('shell', without);
    expect(without.linesOf('open')).toEqual(['open /dev/ttyS0 258 = 10']);
  });

  it('boots nothing when it is the shell after an application', () => {
    const sys = new Recorder({ ...CONSOLE, ...app() });
    played('shell', sys);
    expect(sys.trace[0]).toBe('open /dev/ttyS0 258 = 10');
    expect(sys.linesOf('mount', 'setHostName', 'socket')).toEqual([]);
    expect(sys.linesOf('execute')).toEqual(['execute /bin/node ["/bin/node"]']);
  });
});

describe('the boot to an application', () => {
  const files = { ...app(), ...EVENT_PORT, ...cmdline('nodeos.network=off') };

  it('ends in this process, without root, pipe or port, in this order', () => {
    const sys = new Recorder(files);
    const { ok, environment } = played('boot', sys);
    expect(ok).toBe(true);
    expect(sys.trace.slice(sys.trace.indexOf('print 3 restart on-failure'))).toEqual([
      'print 3 restart on-failure',
      'print 3 attempts 0',
      'print 3 booted',
      'print 4 {"event":"app","main":"/app/server.js"}',
      'close 3',
      'close 4',
      'chdir /app',
      ...CONFINED,
      'runMain /app/server.js ["--verbose"]',
    ]);
    expect(environment).toEqual({
      PATH: '/bin:/sbin',
      LANG: 'C.UTF-8',
      HOME: '/home/app',
      USER: 'app',
      NODE_ENV: 'production',
      PORT: '8080',
      GREETING: 'hello',
    });
    expect(sys.trace).toEqual(expect.arrayContaining(hostname('my-app')));
  });

  it('leaves descriptor 4 alone if it is not the event port, because Node.js uses it', () => {
    const sys = new Recorder({ ...files, '/proc/self/fd/4': 'anon_inode:[eventpoll]' });
    played('boot', sys);
    expect(sys.trace.filter((line) => /^(print|close) 4/.test(line))).toEqual([]);
    expect(sys.linesOf('close')).toEqual(['close 3']);
  });

  it('continues if nobody reads the events', () => {
    const sys = new Recorder(files);
    sys.failures.set('print 4', -11);
    expect(played('boot', sys).ok).toBe(true);
    expect(sys.trace.at(-1)).toMatch(/^runMain/);
  });

  it('keeps root if the application runs as root', () => {
    const sys = new Recorder({ ...files, ...app({ user: 'root' }) });
    const { environment } = played('boot', sys);
    expect(sys.linesOf('setIdentity', 'control', 'setFilter', 'chown')).toEqual([]);
    expect(sys.trace.slice(-2)).toEqual(['chdir /app', 'runMain /app/server.js ["--verbose"]']);
    expect(environment).toMatchObject({ HOME: '/root', USER: 'root' });
  });

  it('starts Node.js once more for Node.js options', () => {
    const sys = new Recorder({
      ...files,
      ...app({ nodeArgs: ['--import', './a.mjs'] }),
      ...run({ env: { PORT: '1' } }),
    });
    expect(executed(sys)).toMatchObject({ PORT: '1', GREETING: 'hello', NODE_ENV: 'production' });
    expect(sys.trace.slice(-CONFINED.length - 2, -1)).toEqual([
      ...CONFINED,
      'execute /bin/node ["/bin/node","--import","./a.mjs","/app/server.js","--verbose"]',
    ]);
  });

  it.each(['NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS', 'NODE_PATH', 'UV_THREADPOOL_SIZE', 'OPENSSL_CONF'])(
    'starts Node.js once more for %s, which Node.js reads only at its start',
    (name) => {
      const sys = new Recorder({ ...files, ...app({ env: { [name]: 'x' } }) });
      expect(executed(sys)).toMatchObject({ [name]: 'x', NODE_ENV: 'production' });
      expect(sys.trace).toContain(`print 4 {"event":"app","main":"/app/server.js","again":["${name}"]}`);
      expect(sys.trace.at(-2)).toBe('execute /bin/node ["/bin/node","/app/server.js","--verbose"]');
    },
  );

  it('starts Node.js once more for such a variable of the command line too', () => {
    const sys = new Recorder({ ...files, ...run({ env: { NODE_DEBUG: 'http' } }) });
    expect(executed(sys)).toMatchObject({ NODE_DEBUG: 'http' });
  });

  it.each([{ NODE_ENV: 'test' }, { LANG: 'C.UTF-8' }, { PORT: '1', TZ: 'UTC', FORCE_COLOR: '1', NODEMAILER: 'x' }])(
    'runs the application in this process with %j',
    (env) => {
      const sys = new Recorder({ ...files, ...app({ env }) });
      expect(played('boot', sys).environment).toMatchObject(env);
      expect(sys.trace.at(-1)).toMatch(/^runMain/);
    },
  );

  it('expands variables in arguments like a shell', () => {
    const args = [
      ['--port=', { name: 'PORT', quoted: false }],
      [{ name: 'HOST', fallback: '0.0.0.0', quoted: false }],
      [{ name: 'WORDS', quoted: false }, '!'],
      [{ name: 'WORDS', quoted: true }, '!'],
      [{ name: 'NOTHING', quoted: false }],
      [{ name: 'NOTHING', quoted: true }],
      ['x', { name: 'SPACED', quoted: false }, 'y'],
    ];
    const env = { PORT: '81', WORDS: 'two words', SPACED: ' a ' };
    const sys = new Recorder({ ...files, ...app({ args, env }) });
    played('boot', sys);
    expect(sys.trace.at(-1)).toBe(
      `runMain /app/server.js ${JSON.stringify(['--port=81', '0.0.0.0', 'two', 'words!', 'two words!', '', 'x', 'a', 'y'])}`,
    );
  });

  it('runs preceding commands as the same user', () => {
    const first = [
      { from: 'scripts.prestart', main: '/app/a.js', args: ['x'], nodeArgs: ['--no-warnings'], env: { STAGE: '1' } },
      { from: 'scripts.prestart', main: '/app/b.js', args: [], nodeArgs: [], env: { STAGE: '2' } },
    ];
    const sys = new Recorder({ ...files, ...app({ first }) });
    played('boot', sys);
    expect(sys.trace.slice(-3 - CONFINED.length)).toEqual([
      ...CONFINED,
      'first ["--no-warnings","/app/a.js","x"] 1',
      'first ["/app/b.js"] 2',
      'runMain /app/server.js ["--verbose"]',
    ]);
  });

  it('does not start the application if a preceding command fails', () => {
    const first = [
      { from: 'scripts.prestart ("node a")', main: '/app/a.js', args: [], nodeArgs: [], env: { STATUS: '3' } },
    ];
    const sys = new Recorder({ ...files, ...app({ first }) });
    played('boot', sys);
    expect(sys.trace.slice(-2)).toEqual([
      'print 2 nodeos: scripts.prestart ("node a") ended with status 3; the application is not started',
      'end 3',
    ]);
  });

  it('boots nothing when the application is started again', () => {
    const sys = new Recorder(files);
    played('start', sys);
    expect(sys.trace).toEqual([
      'print 4 {"event":"node","role":"start"}',
      'print 4 {"event":"app","main":"/app/server.js"}',
      'close 3',
      'close 4',
      'chdir /app',
      ...CONFINED,
      'runMain /app/server.js ["--verbose"]',
    ]);
  });

  it.each([
    ['chown', 'nodeos: boot: chown: EPERM'],
    ['control 24', 'nodeos: boot: control: EPERM'],
    ['setIdentity', 'nodeos: boot: setIdentity: EPERM'],
    ['control 4', 'nodeos: boot: control: EPERM'],
    ['setFilter', 'nodeos: boot: setFilter: EPERM'],
    ['chdir', 'nodeos: boot: chdir: EPERM'],
  ])('does not run the application if %s fails', (call, message) => {
    const sys = new Recorder(files);
    sys.failures.set(call, -1);
    expect(played('boot', sys).ok).toBe(false);
    expect(sys.trace.at(-1)).toBe(`print 2 ${message}`);
  });
});

describe('the boot to the code of --exec', () => {
  const files = { ...app(), ...cmdline('nodeos.network=off'), ...run({ exec: 'console.log(1)' }) };

  it('uses the ports of the host for output', () => {
    const ports = {
      '/sys/class/virtio-ports/vport1p1/name': 'nodeos.events\n',
      '/sys/class/virtio-ports/vport1p2/name': 'nodeos.stdout\n',
      '/sys/class/virtio-ports/vport1p3/name': 'nodeos.stderr\n',
    };
    const sys = new Recorder({ ...files, ...EVENT_PORT, ...ports });
    expect(executed(sys)).toEqual({ PATH: '/bin:/sbin', LANG: 'C.UTF-8', HOME: '/root', PORT: '80' });
    expect(sys.trace.slice(sys.trace.indexOf('print 3 booted') + 1, -1)).toEqual([
      'open /dev/vport1p2 2 = 10',
      'duplicate 10 1',
      'open /dev/vport1p3 2 = 11',
      'duplicate 11 2',
      'print 4 {"event":"exec"}',
      'close 3',
      'close 4',
      'chdir /app',
      'execute /bin/node ["/bin/node","--eval","console.log(1)"]',
    ]);
  });

  it('reads the settings from the port of the host and keeps them', () => {
    const sys = new Recorder({
      ...app(),
      ...cmdline('nodeos.network=off'),
      '/sys/class/virtio-ports/vport1p4/name': 'nodeos.settings\n',
      '/dev/vport1p4': `${JSON.stringify({ exec: '1', seed: '00' })}\nrest`,
    });
    executed(sys);
    expect(sys.trace).toContain('write /run/nodeos/settings.json "{\\"exec\\":\\"1\\"}"');
    expect(sys.trace).toContain('execute /bin/node ["/bin/node","--eval","1"]');
  });

  it('uses the console without such ports and does not restart the code', () => {
    const sys = new Recorder(files);
    executed(sys);
    expect(sys.linesOf('open', 'duplicate')).toEqual([]);
    expect(sys.trace).toContain('print 3 restart never');
  });

  it('runs Node.js even if the code is empty', () => {
    const sys = new Recorder({ ...cmdline('nodeos.network=off'), ...run({ exec: '' }) });
    executed(sys);
    expect(sys.linesOf('execute')).toEqual(['execute /bin/node ["/bin/node","--eval",""]']);
    expect(sys.linesOf('chdir')).toEqual(['chdir /']);
  });
});

describe('the boot of nodeos dev', () => {
  const port = { '/sys/class/virtio-ports/vport1p5/name': 'nodeos.control\n' };
  const files = { ...app(), ...cmdline('nodeos.network=off'), ...run({ dev: { tag: 'app', inspect: 9229 } }) };
  const share = 'mount /app app 9p 7 trans=virtio,version=9p2000.L,cache=none,msize=512000';

  it("mounts the host's folder over the application's, keeps the modules, and supervises the application", () => {
    const sys = new Recorder({ ...files, ...port, '/app/node_modules': '' });
    expect(played('boot', sys).ok).toBe(true);
    const at = sys.trace.indexOf('print 3 booted') + 1;
    expect(sys.trace.slice(at, at + 5)).toEqual([
      'mkdir /run/node_modules 755',
      'mount /run/node_modules /app/node_modules  4096 ',
      share,
      'mount /app/node_modules /run/node_modules  4096 ',
      'open /dev/vport1p5 2 = 10',
    ]);
    expect(sys.trace.at(-1)).toBe('supervise [10,"/app/server.js",9229,[],"/app"]');
  });

  it('says so if the host has no port for it', () => {
    const sys = new Recorder(files);
    expect(played('boot', sys).ok).toBe(false);
    expect(sys.trace.at(-1)).toContain('the machine has no port for nodeos dev');
  });
});

describe('a step that fails', () => {
  it('is named on the console with its mount, and all other steps run', () => {
    const sys = new Recorder({ ...app(), ...EVENT_PORT, ...wiredMachine() });
    sys.wire = server;
    sys.failures.set('mount /home/app', -19);
    sys.failures.set('mount /dev/shm', -1);
    expect(played('boot', sys).ok).toBe(true);
    const message = 'mounts: /dev/shm: mount: EPERM; /home/app: mount: ENODEV';
    expect(sys.trace).toContain(`print 2 nodeos: ${message}`);
    expect(sys.trace).toContain(
      `print 4 {"event":"step","step":"mounts","error":"${message.replace('mounts: ', '')}"}`,
    );
    expect(sys.trace).toEqual(expect.arrayContaining(MOUNTS));
    expect(sys.linesOf('print').filter((line) => line.startsWith('print 2'))).toHaveLength(1);
    expect(sys.trace.at(-1)).toMatch(/^runMain/);
  });

  it.each([
    [
      'write /proc/sys/fs/protected_',
      `settings: ${['symlinks', 'hardlinks', 'fifos', 'regular'].map((name) => `fs/protected_${name}: write: EACCES`).join('; ')}`,
    ],
    ['setHostName', 'hostname: setHostName: EACCES'],
    ['socket', 'network: socket: EACCES'],
    ['open /dev/urandom', 'random seed: open: EACCES'],
    ['setClock', 'clock: setClock: EACCES'],
  ])('%s', (call, message) => {
    const sys = new Recorder({ ...app(), ...wiredMachine(), ...run({ seed: 'ff' }) });
    sys.wire = server;
    sys.date = 0;
    sys.failures.set(call, -13);
    expect(played('boot', sys).ok).toBe(true);
    expect(sys.trace).toContain(`print 2 nodeos: ${message}`);
    expect(sys.trace.at(-1)).toMatch(/^runMain/);
  });

  it.each([
    ['/etc/nodeos.json', '{"name":'],
    ['/run/nodeos/settings.json', 'no JSON'],
  ])('a configuration in %s that cannot be read names the file', (path, text) => {
    const sys = new Recorder({ ...CONSOLE, [path]: text });
    expect(played('boot', sys).ok).toBe(false);
    expect(sys.trace).toEqual([expect.stringContaining(`print 2 nodeos: boot: ${path}: `)]);
  });

  it.each(['', 'stop', 'constructor', '__proto__'])('rejects the unknown role %j', (role) => {
    const sys = new Recorder();
    expect(played(role, sys).ok).toBe(false);
    expect(sys.trace).toEqual([`print 2 nodeos: ${role}: no such role`]);
  });
});

describe('the machine', () => {
  const off = cmdline('nodeos.network=off');

  it('credits the seed to the random number generator', () => {
    const sys = new Recorder({ ...off, ...app(), ...run({ seed: '00112233445566778899aabbccddeeff' }) });
    played('boot', sys);
    expect(sys.linesOf('open', 'ioctl', 'close').slice(0, 3)).toEqual([
      'open /dev/urandom 1 = 10',
      // 128 bits, 16 bytes, the bytes
      'ioctl 10 0x40085203 800000001000000000112233445566778899aabbccddeeff',
      'close 10',
    ]);
  });

  it.each([[0], [1_700_000_000], [1_788_220_799]])('corrects a clock of %i', (date) => {
    const sys = new Recorder({ ...off, ...app() });
    sys.date = date;
    played('boot', sys);
    const told = `print 2 nodeos: clock: ${new Date(date * 1000).toISOString()} cannot be: set to 2026-09-01T00:00:00.000Z`;
    expect(sys.trace).toEqual(expect.arrayContaining([told, 'setClock 1788220800']));
  });

  it('keeps a plausible clock', () => {
    const sys = new Recorder({ ...off, ...app() });
    sys.date = 1_788_220_800;
    played('boot', sys);
    expect(sys.linesOf('setClock')).toEqual([]);
  });

  it('makes no link that devtmpfs already has', () => {
    const sys = new Recorder({ ...off, ...app(), '/dev/fd': '', '/dev/stdin': '' });
    played('boot', sys);
    expect(sys.linesOf('symlink')).toEqual([
      'symlink /dev/stdout /proc/self/fd/1',
      'symlink /dev/stderr /proc/self/fd/2',
    ]);
  });
});

describe('a filesystem in memory', () => {
  const off = cmdline('nodeos.network=off');
  const mounts = (files: Record<string, string>): string[] => {
    const sys = new Recorder({ ...off, ...app(), ...files });
    played('boot', sys);
    return sys.linesOf('mount').filter((line) => line.includes('size='));
  };

  it('gets a share of the free memory, with a minimum', () => {
    expect(mounts({ '/proc/meminfo': 'MemAvailable:       2048 kB\n' })).toEqual([
      'mount / rootfs rootfs 32 size=4096k',
      'mount /dev/shm tmpfs tmpfs 14 mode=1777,size=1024k,nr_inodes=256',
      'mount /run tmpfs tmpfs 6 mode=755,size=1024k,nr_inodes=256',
      'mount /tmp tmpfs tmpfs 6 mode=1777,size=1024k,nr_inodes=256',
      'mount /home/app tmpfs tmpfs 6 mode=755,uid=1000,gid=1000,size=1024k,nr_inodes=256',
    ]);
  });

  it.each(['overlay', 'ext4'])('is not used for the home on a root of type %s, which may be persistent', (type) => {
    const root = `/dev/nbd0 / ${type} rw 0 0\ntmpfs /run tmpfs rw 0 0\n`;
    const targets = mounts({ '/proc/mounts': root }).map((line) => line.split(' ')[1]);
    expect(targets).toEqual(['/dev/shm', '/run', '/tmp']);
  });
});

describe('the request to PID 1', () => {
  const told = (files: Record<string, string>): string[] => {
    const sys = new Recorder({ ...CONSOLE, ...files });
    played('boot', sys);
    return sys.trace.filter((line) => line.startsWith('print 3')).map((line) => line.slice('print 3 '.length));
  };
  const off = 'nodeos.network=off';

  it.each([
    [
      'the application',
      app({ restart: 'always', onexit: 'halt' }),
      off,
      ['onexit halt', 'restart always', 'attempts 0'],
    ],
    ['an application that says nothing', app(), off, ['restart on-failure', 'attempts 0']],
    ['no application', {}, off, ['restart never', 'attempts 0']],
    ['code', { ...app({ restart: 'always' }), ...run({ exec: '1' }) }, off, ['restart never', 'attempts 0']],
    [
      'the command line before the application',
      app({ restart: 'always', onexit: 'halt' }),
      `${off} nodeos.onexit=poweroff nodeos.restart=never nodeos.attempts=3`,
      ['onexit poweroff', 'restart never', 'attempts 3'],
    ],
    [
      'the last of two words',
      app(),
      `nodeos.restart=always ${off} nodeos.restart=never`,
      ['restart never', 'attempts 0'],
    ],
  ])('comes from %s', (_, files, line, lines) => {
    expect(told({ ...files, ...cmdline(line) })).toEqual([...lines, 'booted']);
  });

  it('says when to renew if there is a network', () => {
    const sys = new Recorder({ ...app(), ...wiredMachine() });
    sys.wire = server;
    played('boot', sys);
    expect(sys.trace.filter((line) => line.startsWith('print 3'))[0]).toBe('print 3 renew 40000');
  });
});
