import { createServer } from 'node:net';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { application, exec, freePort, nodeos, start, temporary } from '../support.js';

describe('nodeos start ends with a status and a cause', () => {
  it('when the kernel panics', async () => {
    const { status, stderr } = await exec("fs.writeFileSync('/proc/sysrq-trigger', 'c')");
    expect(status).toBe(1);
    expect(stderr).toContain('the kernel panicked: sysrq triggered crash');
    expect(stderr).toMatch(/^ {2}.*Kernel panic/m); // the guest's last lines
  });

  it('when the guest stays silent', async () => {
    // -S: QEMU never starts its processors.
    const { status, stderr } = await nodeos('start', '--exec', '1', '--boot-timeout', '3', '--', '-S');
    expect(status).toBe(1);
    expect(stderr).toContain('the guest gave no sign of life for 3 s');
    expect(stderr).toContain('--boot-timeout');
  });

  it('when there is too little memory', async () => {
    const { status, stderr } = await exec('1', '--memory', '96M', '--runtime', 'initramfs');
    expect(status).toBe(2);
    const [, more] =
      /96M of memory are too little: the initramfs has .*\n {2}--memory (\d+M) will do/.exec(stderr) ?? [];
    // The recommended size works.
    const again = await exec('console.log(1)', '--memory', more ?? '', '--runtime', 'initramfs');
    expect([again.status, again.stdout], again.stderr).toEqual([0, '1\n']);
  });

  it('when an application is too large for the memory, which a served root avoids', async () => {
    const app = await application({ 'main.js': '', asset: 'x'.repeat(60 << 20) });
    const run = (...options: string[]) => exec('console.log(1)', '--memory', '128M', app, ...options);
    const refused = await run();
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain('128M of memory are too little: the initramfs has 60 MiB');
    const served = await run('--root', 'nbd');
    expect([served.status, served.stdout], served.stderr).toEqual([0, '1\n']);
  });

  it('when there is too little memory for any system', async () => {
    const { status, stderr } = await exec('1', '--memory', '44M');
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining('with less than 48M') });
  });

  it('when the code uses more memory than there is', async () => {
    const { status, stderr } = await exec(
      'for (const all = []; ; ) all.push(Buffer.alloc(1 << 20, 1))',
      '--memory',
      '64M',
    );
    expect(status).toBe(137);
    expect(stderr).toMatch(/the guest ran out of memory and killed .*; give the machine more: --memory 512M/);
  });

  it('when a port is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const { status, stderr } = await nodeos('start', '--exec', '1', '--publish', `${port}:80`);
    expect(status).toBe(1);
    expect(stderr).toContain(`port ${port} of 127.0.0.1: another program has it`);
  });

  it('when QEMU is missing', async () => {
    const bin = await temporary();
    // All tools for a start except QEMU.
    for (const tool of ['node', 'npm', 'gcc', 'ld', 'make', 'strip', 'lz4']) {
      const path = (process.env['PATH'] ?? '').split(':').map((dir) => join(dir, tool));
      const { existsSync } = await import('node:fs');
      const found = path.find((candidate) => existsSync(candidate));
      if (found !== undefined) await symlink(found, join(bin, tool));
    }
    const { status, stderr } = await start(['start', '--exec', '1'], { env: { PATH: bin } }).ended;
    expect(status).toBe(1);
    expect(stderr).toContain('qemu-system-x86_64 is not installed');
    expect(stderr).toMatch(/install it with: .*qemu-system-x86/);
  });

  it('when the timeout has passed', async () => {
    const { status, stderr } = await nodeos('start', '--exec', 'setInterval(() => {}, 1000)', '--timeout', '5');
    expect(status).toBe(124);
    expect(stderr).toContain('ended after 5 s (--timeout)');
  });

  it('when the application has a syntax error', async () => {
    const app = await application({ 'main.js': 'const = 1;' });
    const { status, stdout, stderr } = await nodeos('start', app, '--publish', `${await freePort()}:80`);
    expect(status).toBe(1);
    expect(stdout + stderr).toContain('SyntaxError');
    expect(stdout + stderr).toContain('/app/main.js:1');
    expect(stderr).toContain('3 times in a row');
  });

  it('when QEMU rejects its arguments', async () => {
    const { status, stderr } = await nodeos('start', '--exec', '1', '--', '-no-such-option');
    expect(status).toBe(1);
    expect(stderr).toContain('-no-such-option');
  });
});

describe('Ctrl-C', () => {
  it.each([
    ['while QEMU comes up', /software emulation|"pid1"/],
    ['while the init runs', /"node"/],
    ['while the application runs', /^up$/m],
  ])('ends the machine and leaves nothing behind, %s', async (_, moment) => {
    const app = await application({ 'main.js': `console.log('up'); setInterval(() => {}, 1000);` });
    const tmp = await temporary();
    await mkdir(join(tmp, 'x'));
    const machine = start(['start', app, '--events', '--publish', `${await freePort()}:80`]);
    await machine.waitForOutput(moment);
    machine.child.kill('SIGINT');
    const { status } = await machine.ended;
    expect(status).toBe(130);
  });
});
