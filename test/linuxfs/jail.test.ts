/** What the kernel's process does not need: rights, calls of the host, folders. */
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { LONG, ROOT, temporary } from '../support.js';
import { builtKernel, checked, emptyDisk } from './disks.js';

let kernel: string;
beforeAll(async () => void (kernel = await builtKernel()), LONG);

/**
 * Lets a program run without some calls: whoever makes one of them is killed. The numbers are those of x86_64: ptrace,
 * personality, mount, umount2, unshare, setns, process_vm_readv and _writev, io_uring_setup, _enter and _register.
 */
const JAIL = `
import ctypes, os, struct, sys
calls = [101, 135, 165, 166, 272, 308, 310, 311, 425, 426, 427]
rule = lambda code, yes, no, value: struct.pack('HBBI', code, yes, no, value)
program = rule(0x20, 0, 0, 0)
for left, call in zip(range(len(calls), 0, -1), calls):
    program += rule(0x15, left, 0, call)
program += rule(0x06, 0, 0, 0x7fff0000) + rule(0x06, 0, 0, 0x80000000)
data = ctypes.create_string_buffer(program)
header = struct.pack('HxxxxxxQ', len(program) // 8, ctypes.addressof(data))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, header, 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
`;

const isRoot = process.getuid?.() === 0;

it('works as nobody, without ptrace and its like, without a home, with 1 MB of shared memory', async ({ skip }) => {
  if (!isRoot) skip('only root becomes nobody and mounts');
  if (spawnSync('test', ['-r', `${ROOT}package.json`], { uid: 65534, gid: 65534 }).status !== 0)
    skip('only the owner of this folder can enter it');
  const folder = await temporary();
  const image = emptyDisk(folder, 'ext4');
  const [copy, jail] = [join(folder, 'linux'), join(folder, 'jail.py')];
  writeFileSync(jail, JAIL);
  execFileSync('install', ['-m', '755', kernel, copy]);
  execFileSync('chmod', ['755', folder]);
  execFileSync('chown', ['65534:65534', image]);
  const code = `
    import { open } from '${ROOT}packages/linuxfs/dist/index.js';
    const disk = await open('${image}', { kernel: '${copy}' });
    const { promises } = await disk.mount();
    await promises.writeFile('/x', 'by nobody', { flush: true });
    console.log(process.getuid(), await promises.readFile('/x', 'utf8'));
    await disk.close();`;
  const jailed = (...program: string[]): ReturnType<typeof spawnSync> =>
    spawnSync(
      'unshare',
      [
        ...['-m', 'sh', '-c'],
        'mount -t tmpfs -o noexec,size=1m shm /dev/shm && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"',
        ...['sh', '/usr/bin/env', '-i', '/usr/bin/python3', jail, ...program],
      ],
      { cwd: '/', encoding: 'utf8' },
    );
  // The jail is one: what it forbids is death.
  expect(jailed('/usr/bin/unshare', '-U', 'true')).toMatchObject({ signal: 'SIGSYS' });
  const { stdout, stderr } = jailed(process.execPath, '--input-type=module', '-e', code);
  expect(stdout, String(stderr)).toBe('65534 by nobody\n');
  expect(checked(image, 'ext4')).toMatchObject({ status: 0 });
});
