/** Container images as machines: BusyBox, in images that are made here, from a registry and from a layout. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { layoutOf, tarOf } from '../../packages/oci/test/images.js';
import { startRegistry, type Registry } from '../../packages/remote/test/registry.js';
import { freePort, nodeos, request, start, temporary } from '../support.js';

const run = promisify(execFile);
const APPLETS = ['cat', 'grep', 'httpd', 'id', 'ls', 'mknod', 'mount', 'ping', 'sh', 'stty', 'tty'];
const CAPABILITIES = '00000000a80425fb'; // of a container of Docker
/** `setcap cap_net_raw+ep`, as vfs_ns_cap_data of version 2. https://man7.org/linux/man-pages/man7/capabilities.7.html */
const RAW_NETWORK = {
  'SCHILY.xattr.security.capability': Buffer.from('0100000200200000000000000000000000000000', 'hex'),
};
const TIME = ['--timeout', '90'];

let root = '';
let layer: Buffer;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'nodeos-containers-'));
  layer = tarOf([
    { path: 'bin/' },
    { path: 'bin/busybox', content: await readFile(await busybox()), mode: 0o755 },
    ...APPLETS.map((name) => ({ path: `bin/${name}`, kind: '2', link: 'busybox' })),
    { path: 'cap/' },
    { path: 'cap/grep', content: await readFile(await busybox()), mode: 0o755, pax: RAW_NETWORK },
    { path: 'etc/' },
    { path: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n' },
    { path: 'etc/group', content: 'web:x:34:\nvideo:x:44:web\n' },
    // Links that would lead out of the root if they were followed from outside.
    { path: 'etc/resolv.conf', kind: '2', link: '/../run/nodeos/none' },
    { path: 'proc', kind: '2', link: '/../srv/proc' },
    { path: 'srv/proc/' },
  ]);
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function busybox(): Promise<string> {
  return (await run('sh', ['-c', 'command -v busybox'])).stdout.trim();
}

const image = async (name: string, config: object): Promise<string> =>
  `oci:${await layoutOf(join(root, name), [layer], { config })}:latest`;

describe('nodeos start with an image of a registry', () => {
  let registry: Registry;
  let name = '';
  beforeAll(async () => {
    await mkdir(join(root, 'registry'));
    registry = await startRegistry(join(root, 'registry'));
    name = `docker://${registry.host}/team/busy:1`;
    const layout = await image('busy', {
      Cmd: ['sh', '-c', 'exit 1'],
      Env: ['GREETING=hello', 'PATH=/bin'],
      User: 'web',
      WorkingDir: '/srv/made',
    });
    await run('skopeo', ['copy', '-q', '--insecure-policy', '--dest-tls-verify=false', layout, name]);
  });

  it('runs a command as the user of the image, with its variables and folder, and ends with its status', async () => {
    const script =
      'id; echo $GREETING $MORE $HOME $PWD; cat /etc/resolv.conf; grep -E "^(CapPrm|CapBnd|Seccomp|NoNew|SigIgn)" /proc/self/status; echo out > /dev/stdout; /cap/grep CapEff /proc/self/status; exit 7';
    const { status, stdout, stderr } = await nodeos(
      'start',
      name,
      '--env',
      'MORE=x',
      ...TIME,
      '--',
      'sh',
      '-c',
      script,
    );
    expect({ status, stderr }).toMatchObject({ status: 7 });
    expect(stdout).toContain('uid=33(web) gid=34(web) groups=44(video)');
    expect(stdout).toContain('hello x /srv /srv/made');
    expect(stdout).toContain('nameserver 10.0.2.3');
    expect(stdout).toMatch(/^SigIgn:\s+0{16}\s+CapPrm:\s+0{16}\s+/m);
    expect(stdout).toMatch(new RegExp(`^CapBnd:\\s+${CAPABILITIES}`, 'm'));
    expect(stdout).toMatch(/^NoNewPrivs:\s+0\s+Seccomp:\s+2/m);
    expect(stdout).toMatch(/^out\r?$/m);
    expect(stdout, 'the capability of a file').toMatch(/^CapEff:\s+0000000000002000/m);
  });

  it('needs no registry for an image that is named by its digest and was there before', async () => {
    const { stdout } = await run('skopeo', ['inspect', '--tls-verify=false', '--format', '{{.Digest}}', name]);
    await registry.close();
    const known = await nodeos('start', `${name.replace(/:1$/, '')}@${stdout.trim()}`, '--', 'no-such-program');
    expect(known).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/the image has no program "no-such-program" \(PATH is \/bin\)/) as string,
    });
    const unknown = await nodeos('start', name);
    expect(unknown).toMatchObject({ status: 1, stderr: expect.stringMatching(/ECONNREFUSED|cannot/) as string });
  });
});

describe('nodeos start with an image of a layout', () => {
  it('publishes what it exposes, ends it by its signal, and keeps its changes in a file', async () => {
    const port = await freePort();
    const server = await image('server', {
      Entrypoint: ['/bin/sh', '-c'],
      Cmd: [`trap 'echo ended by USR1; exit 0' USR1; echo kept > /srv/index.html; httpd -f -p ${port} -h /srv & wait`],
      ExposedPorts: { [`${port}/tcp`]: {} },
      StopSignal: 'SIGUSR1',
      WorkingDir: '/srv',
    });
    const disk = join(await temporary(), 'changes.ext4');
    const machine = start(['start', server, '--persist', disk, ...TIME]);
    await machine.waitForOutput(new RegExp(`tcp port ${port} is 127\\.0\\.0\\.1:${port}`));
    expect(await (await request(`http://127.0.0.1:${port}/`)).text()).toBe('kept\n');
    machine.child.kill('SIGINT');
    const { status, stdout } = await machine.ended;
    expect({ status, stdout }).toMatchObject({
      status: 130,
      stdout: expect.stringContaining('ended by USR1') as string,
    });
    await run('/usr/sbin/e2fsck', ['-fn', disk]);

    // Root has what root of a container has: it makes a device that nobody can open, and mounts nothing.
    const script =
      'cat /srv/index.html; grep CapPrm /proc/self/status; mknod /dev/x c 1 3; cat /dev/x; mount -t tmpfs none /srv; ' +
      'echo 1 > /proc/sys/kernel/sysrq; echo 1 > /sys/kernel/mm/ksm/run; ping -c 1 127.0.0.1 | grep transmitted; ls /run /data';
    const again = await nodeos(
      'start',
      server,
      '--persist',
      disk,
      '--entrypoint',
      'sh',
      '--publish',
      `${port}:1`,
      ...TIME,
      '--',
      '-c',
      script,
    );
    expect(again.stdout).toMatch(/^kept\r?$/m);
    expect(again.stdout).toMatch(new RegExp(`^CapPrm:\\s+${CAPABILITIES}`, 'm'));
    expect(again.stdout).toMatch(/can't open '\/dev\/x': (Permission denied|Operation not permitted)/);
    expect(again.stdout).toMatch(/mount: .*(Operation not permitted|permission denied)/);
    expect(again.stdout.match(/Read-only file system|No such file or directory/g)?.length).toBeGreaterThanOrEqual(3);
    expect(again.stdout).toContain('1 packets transmitted, 1 packets received');
    expect(again.stdout).not.toContain('settings.json');
  });

  it('gives a shell the console as its terminal', async () => {
    const shell = await image('shell', { Cmd: ['sh'] });
    const machine = start(['start', shell, ...TIME]);
    await machine.waitForOutput(/# /);
    machine.child.stdin?.write('tty; echo $TERM; cat\r');
    await machine.waitForOutput(/^\/dev\/console\s+xterm/m);
    machine.child.stdin?.write('\x03');
    await machine.waitForOutput(/\^C[^]*# /); // what is typed before is thrown away with the program
    machine.child.stdin?.write('echo "status $?"; exit 5\r');
    await machine.waitForOutput(/^status 130/m);
    expect((await machine.ended).status).toBe(5);
  });

  it.each([
    ['no command', {}, [], 1, /says nothing that it starts/],
    ['an unknown user', { Cmd: ['sh'], User: 'nobody' }, [], 1, /has no user "nobody"/],
    ['a root of our own', { Cmd: ['sh'] }, ['--root', 'nbd'], 2, /--root: not with the image of a container/],
    ['arguments before --', { Cmd: ['sh'] }, ['ls'], 2, /a command comes after --: nodeos start oci:.* -- ls/],
  ])('names %s before anything is built', async (name, config, options, status, message) => {
    const result = await nodeos('start', await image(name.replaceAll(' ', '-'), config), ...options);
    expect(result).toMatchObject({ status, stderr: expect.stringMatching(message) as string });
  });
});
