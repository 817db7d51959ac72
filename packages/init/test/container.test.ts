import { describe, expect, it } from 'vitest';
import { runRole } from '../guest/roles.js';
import { FAMILIES, filter } from '../guest/seccomp.js';
import { Recorder } from './recorder.js';

const CONTAINER = {
  name: 'busy',
  program: '/bin/sh',
  args: ['sh', '-l'],
  env: { PATH: '/bin' },
  cwd: '/srv/app',
  uid: 33,
  gid: 34,
  groups: [44],
  terminal: false,
  stopSignal: 3,
};

/** A machine that has been started for an image, with 100 MiB of free memory. */
const machine = (container: object = {}, cmdline = '', mounts = ''): Recorder =>
  new Recorder({
    '/run/nodeos/settings.json': JSON.stringify({ container: { ...CONTAINER, ...container } }),
    '/proc/cmdline': `nodeos.network=off nodeos.container=/dev/vda ${cmdline}\n`,
    '/proc/mounts': `rootfs / rootfs rw 0 0\n${mounts}`,
    '/proc/sys': '',
    '/proc/kcore': '',
    '/sys/firmware': '',
    '/dev/null': '',
    '/etc/hosts': '',
    '/sys/class/tty/console/active': 'ttyS0\n',
    '/proc/self/fd/0': '/dev/ttyS0',
  });

const LAYERS = [
  'mkdir /run/container/image 755',
  'mount /run/container/image /dev/vda erofs 5 ',
  'mkdir /run/container/changes 755',
  'mount /run/container/changes tmpfs tmpfs 4 mode=755,size=51200k,nr_inodes=12800',
  'mkdir /run/container/changes/upper 755',
  'mkdir /run/container/changes/work 755',
  'mkdir /run/container/root 755',
  'mount /run/container/root overlay overlay 4 lowerdir=/run/container/image,upperdir=/run/container/changes/upper,workdir=/run/container/changes/work,redirect_dir=on',
];

/** What is in the trace from the first line with that start on. */
const from = (sys: Recorder, start: string): string[] =>
  sys.trace.slice(sys.trace.findIndex((line) => line.startsWith(start)));

describe('the start of a container', () => {
  it('makes its root, enters it, gives up what a container does not have, and becomes the program', () => {
    const sys = machine();
    sys.files.delete('/etc/hostname');
    runRole('boot', sys);
    expect(sys.trace).toContain('setHostName busy');
    expect(sys.linesOf('print').slice(0, 4)).toEqual([
      'print 3 restart never',
      'print 3 attempts 0',
      'print 3 signal 3',
      'print 3 booted',
    ]);
    expect(from(sys, 'mkdir /run/container').slice(0, LAYERS.length)).toEqual(LAYERS);
    const trace = from(sys, 'unshare');
    expect(trace).toEqual([
      'unshare 0x2020000',
      'open /dev/null 2097152 = 10',
      'open /etc/hostname 2097152 = 11',
      'open /etc/hosts 2097152 = 12',
      'chdir /run/container/root',
      'mount / .  8192 ',
      'chroot .',
      'chdir /',
      'mkdir /proc 755',
      'mount /proc proc proc 14 ',
      'mkdir /dev 755',
      'mount /dev tmpfs tmpfs 6 mode=755,size=64k',
      'mkdir /dev/pts 755',
      'mount /dev/pts devpts devpts 10 gid=5,mode=620,ptmxmode=666',
      'mkdir /dev/shm 755',
      'mount /dev/shm tmpfs tmpfs 14 mode=1777,size=10240k,nr_inodes=2560',
      'mkdir /dev/mqueue 755',
      'mount /dev/mqueue mqueue mqueue 14 ',
      'mkdir /sys 755',
      'mount /sys sysfs sysfs 15 ',
      'mkdir /sys/fs/cgroup 755',
      'mount /sys/fs/cgroup cgroup2 cgroup2 15 ',
      ...['/dev/null', '/etc/hostname', '/etc/hosts'].flatMap((path, index) => [
        `mkdir ${path.slice(0, 4)} 755`,
        `remove ${path}`,
        `write ${path} ""`,
        `mount ${path} /proc/self/fd/${10 + index}  4096 `,
        `close ${10 + index}`,
      ]),
      'symlink /dev/fd /proc/self/fd',
      'symlink /dev/stdin /proc/self/fd/0',
      'symlink /dev/stdout /proc/self/fd/1',
      'symlink /dev/stderr /proc/self/fd/2',
      'symlink /dev/ptmx pts/ptmx',
      'mount /proc/sys /proc/sys  4096 ',
      'mount /proc/sys   4143 ',
      'mount /proc/kcore /dev/null  4096 ',
      'mkdir /sys/firmware 755',
      'mount /sys/firmware tmpfs tmpfs 15 ',
      'mkdir /srv/app 755',
      'chdir /srv/app',
      `setFilter ${filter('x86_64', [...FAMILIES, 17]).length / 8}`,
      'control 24 2', // of the three capabilities of the recorder's machine, the one that no container has
      'chown 1 33 34',
      'chown 2 33 34',
      'setIdentity 33 34 44',
      'executeOther /bin/sh ["sh","-l"]',
      'print 2 nodeos: boot: it does not return',
    ]);
    expect(sys.executed).toEqual({ PATH: '/bin' });
  });

  it('has the layer for changes on a disk', () => {
    const sys = machine({}, 'nodeos.upper=/dev/vdb');
    runRole('boot', sys);
    expect(sys.trace).toContain('mount /run/container/changes /dev/vdb ext4 1028 ');
    expect(sys.linesOf('mount').find((line) => line.includes('overlay'))).toMatch(/redirect_dir=follow$/);
  });

  it('finds the root again when the program is started again', () => {
    const sys = machine({}, '', 'overlay /run/container/root overlay rw 0 0\n');
    runRole('start', sys);
    expect(sys.trace.filter((line) => line.includes('erofs'))).toEqual([]);
    expect(sys.trace).toContain('chroot .');
  });

  it('has the disk for data, if the machine has one', () => {
    const sys = machine({}, '', '/dev/vdb /data ext4 rw 0 0\n');
    runRole('boot', sys);
    expect(sys.linesOf('mount')).toContainEqual(expect.stringMatching(/^mount \/data \/proc\/self\/fd\/\d+ {2}4096 $/));
  });

  it('has the console as its terminal if it is for people', () => {
    const sys = machine({ terminal: true });
    runRole('boot', sys);
    expect(sys.trace).toContain('mount /dev/console /proc/self/fd/14  4096 ');
    expect(from(sys, 'open /dev/ttyS0 258').slice(0, 5)).toEqual([
      'open /dev/ttyS0 258 = 10',
      'ioctl 10 0x540e 1',
      'duplicate 10 0',
      'duplicate 10 1',
      'duplicate 10 2',
    ]);
  });

  it.each([
    ['the image cannot be mounted', 'mount /run/container/image', /image: mount: EPERM/],
    ['the filter is refused', 'setFilter', /setFilter: EPERM/],
    ['the user cannot be changed', 'setIdentity', /setIdentity: EPERM/],
  ])('runs nothing if %s', (_, call, message) => {
    const sys = machine();
    sys.failures.set(call, -1);
    expect(runRole('boot', sys)).toBe(false);
    expect(sys.trace.at(-1)).toMatch(message);
    expect(sys.executed).toBeUndefined();
  });
});
