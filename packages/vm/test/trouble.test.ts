import { describe, expect, it } from 'vitest';
import { troubleIn } from '../trouble.js';

/** A realistic console: timestamps, carriage returns, and unrelated first lines. */
const console_ = (...lines: string[]): string =>
  ['[    0.000000] Linux version 6.12.1-nodeos', '[    0.201334] nodeos: hello', ...lines, ''].join('\r\n');

describe('a console', () => {
  it.each([
    [
      'too little memory to unpack',
      console_(
        '[    0.301922] Trying to unpack rootfs image as initramfs...',
        '[    0.822311] Initramfs unpacking failed: write error',
        '[    0.911000] Kernel panic - not syncing: No working init found.  Try passing init= option to kernel. See Linux Documentation/admin-guide/init.rst for guidance.',
      ),
      "the initramfs does not fit into the guest's memory (write error)",
      '--memory',
    ],
    [
      'a deadlock on memory',
      console_(
        '[    2.1] Out of memory: Killed process 71 (node) total-vm:1142628kB, anon-rss:40104kB, file-rss:0kB, shmem-rss:0kB, UID:0',
        '[    2.2] Kernel panic - not syncing: System is deadlocked on memory',
        '[    2.3] ---[ end Kernel panic - not syncing: System is deadlocked on memory ]---',
      ),
      'the guest has too little memory',
      '--memory',
    ],
    [
      'a killed process',
      console_(
        '[    2.1] Out of memory: Killed process 71 (node) total-vm:1142628kB, anon-rss:40104kB',
        'nodeos: the application ended with signal 9',
      ),
      'the guest ran out of memory and killed node',
      '--memory',
    ],
    [
      'an application that took all that it may have',
      console_(
        '[    2.1] Memory cgroup out of memory: Killed process 71 (node) total-vm:1142628kB, anon-rss:40104kB',
        'nodeos: the application ended with signal 9 (out of memory: it may have 199 MiB)',
      ),
      'the guest ran out of memory and killed node',
      '--memory',
    ],
    [
      'a heap that is full',
      console_(
        '<--- Last few GCs --->',
        'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory',
        '----- Native stack trace -----',
      ),
      'Node.js ran out of heap',
      '--memory',
    ],
    [
      'a root that is not there',
      console_(
        'nodeos: nbd://10.0.2.2:10809/root: connection refused; trying again',
        'nodeos: mount root: nbd://10.0.2.2:10809/root: connection refused (tried for 30 s)',
        'nodeos: poweroff (nodeos.onexit)',
      ),
      'the guest could not mount its root: nbd://10.0.2.2:10809/root: connection refused (tried for 30 s)',
      'root=',
    ],
    [
      'a kernel without an init',
      console_(
        '[    0.5] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)',
        '[    0.5] CPU: 0 UID: 0 PID: 1',
      ),
      'the kernel panicked: VFS: Unable to mount root fs on unknown-block(0,0)',
      undefined,
    ],
    [
      'a PID 1 that was killed',
      console_('[    0.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b   '),
      'the kernel panicked: Attempted to kill init! exitcode=0x0000000b',
      undefined,
    ],
    [
      'QEMU without a port',
      "qemu-system-x86_64: -netdev user,id=net0,hostfwd=tcp:127.0.0.1:80-:80: Could not set up host forwarding rule 'tcp:127.0.0.1:80-:80'\n",
      'QEMU could not publish tcp:127.0.0.1:80-:80: the port is taken',
      '--publish',
    ],
    [
      'QEMU without memory',
      "qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory\n",
      'the host has not enough memory for the guest (Cannot allocate memory)',
      undefined,
    ],
    [
      'QEMU without an accelerator',
      'Could not access KVM kernel module: No such file or directory\nqemu-system-x86_64: failed to initialize kvm: No such file or directory\n',
      'QEMU: failed to initialize kvm: No such file or directory',
      undefined,
    ],
    [
      'QEMU that warns, and then fails',
      "qemu-system-x86_64: warning: TCG doesn't support requested feature: CPUID.01H:ECX.pcid [bit 17]\nqemu-system-x86_64: -m 5: invalid\n",
      'QEMU: -m 5: invalid',
      undefined,
    ],
    [
      'a kernel for more memory',
      'qemu-system-x86_64: initrd is too large, cannot support. (max: 1, need 2)\n',
      "the kernel and the initramfs do not fit into the guest's memory",
      '--memory',
    ],
  ])('with %s is explained', (_, text, cause, hint) => {
    const trouble = troubleIn(text, '256M');
    expect(trouble?.cause).toBe(cause);
    if (hint === undefined) expect(trouble).not.toHaveProperty('hint');
    else expect(trouble?.hint).toContain(hint);
  });

  it.each([
    ['64M', '512M'],
    ['256M', '512M'],
    ['512M', '1G'],
    ['700M', '1400M'],
    ['1G', '2G'],
  ])('of a machine with too little memory (%s) advises %s', (memory, more) => {
    expect(troubleIn(console_('Out of memory: Killed process 71 (node) total'), memory)?.hint).toBe(
      `give the machine more: --memory ${more}`,
    );
  });

  it.each([
    ['nothing', ''],
    ['a good boot', console_('nodeos: network: eth0: no link', 'listening on port 80')],
    ['a warning', "qemu-system-x86_64: warning: TCG doesn't support requested feature: CPUID.01H:ECX.pcid [bit 17]\n"],
    ['talk of panic', console_('the user panicked', 'not syncing')],
  ])('with %s shows no trouble', (_, text) => {
    expect(troubleIn(text, '256M')).toBeUndefined();
  });

  it('is searched quickly even if it is long', () => {
    expect(troubleIn('Kernel panic - not syncing: '.repeat(2000) + ' '.repeat(20_000), '256M')?.cause).toContain(
      'panicked',
    );
  });
});
