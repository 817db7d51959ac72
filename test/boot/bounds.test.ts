/** Applications that use up a resource. The machine and the application's next start must not suffer. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { application, freePort, nodeos, start, temporary, type Event } from '../support.js';

const after = (events: readonly Event[], from: string, to: string): number => {
  const [start = 0, end = Infinity] = [from, to].map((name) => events.find(({ event }) => event === name)?.us);
  return (end - start) / 1e6;
};

describe('an application that writes without end', () => {
  const FLOOD = `console.log('up'); const line = '#'.repeat(100) + '\\n'; for (;;) process.stdout.write(line.repeat(50));`;

  it('is slowed down to the speed of the console, and the machine still ends on request', async () => {
    const app = await application({ 'main.js': FLOOD });
    const machine = start(['start', app, '--publish', `${await freePort()}:80`, '--events']);
    await machine.waitForOutput(/^#{100}$/m);
    machine.child.kill('SIGINT');
    const { status, stdout } = await machine.ended;
    expect(status).toBe(130);
    // Events are separate lines in the console's output, even within a line of the application.
    const EVENT = /\{"us":[^}]*\}\n/g;
    const DIVIDED = /^(#{1,99})\n(?:\{"us":[^}]*\}\n)+(#{1,99})$/gm;
    const events = (stdout.match(EVENT) ?? []).map((line) => JSON.parse(line) as Event);
    expect(events.find(({ event }) => event === 'exit')).toMatchObject({ signal: 15 });
    expect(after(events, 'stop', 'end')).toBeLessThan(10);
    // No output is lost.
    expect(stdout).not.toContain('not shown');
    const lines = stdout.replace(DIVIDED, '$1$2').replace(EVENT, '').match(/^#+$/gm) ?? [];
    expect(lines.filter((line) => line.length !== 100).length).toBeLessThan(2);
  });

  it('does not prevent the end of the machine, even if nobody reads the console', async () => {
    const app = await application({ 'main.js': FLOOD });
    const path = join(await temporary(), 'qmp');
    const monitor = ['--', '-qmp', `unix:${path},server=on,wait=off`];
    const machine = start(['start', app, '--publish', `${await freePort()}:80`, ...monitor]);
    await machine.waitForOutput(/^#{100}$/m);
    machine.child.kill('SIGSTOP'); // nobody reads the console now
    await sleep(1000);
    const qemu = connect(path).resume();
    const gone = once(qemu, 'close');
    qemu.write('{"execute":"qmp_capabilities"}\n{"execute":"system_powerdown"}\n');
    const waited = await Promise.race([gone.then(() => 'gone'), sleep(30_000).then(() => 'still there')]);
    machine.child.kill('SIGCONT');
    await machine.ended;
    expect(waited).toBe('gone');
  });
});

describe('an application that fills every filesystem', () => {
  it('gets an error and can be started again', async () => {
    const code = `
      const fs = require('fs');
      const HOME = process.env.HOME;
      if (fs.existsSync(HOME + '/filled')) { console.log('started again'); process.exit(0); }
      const fill = (folder) => {
        fs.mkdirSync(folder + '/full');
        try { for (let i = 0; ; i++) fs.writeFileSync(folder + '/full/' + i, ''); } catch (error) { console.log('files', folder, error.code); }
        for (const name of fs.readdirSync(folder + '/full').slice(0, 16)) fs.rmSync(folder + '/full/' + name);
        const fd = fs.openSync(folder + '/big', 'w');
        const bytes = Buffer.alloc(1 << 20, 1);
        try { for (;;) fs.writeSync(fd, bytes); } catch (error) { console.log('bytes', folder, error.code); }
        const { bfree } = fs.statfsSync(folder);
        console.log('free', folder, bfree);
      };
      for (const folder of ['/tmp', '/dev/shm', HOME]) fill(folder);
      fs.writeFileSync(HOME + '/filled', '');
      process.exit(3);`;
    const app = await application({ 'main.js': code });
    const port = `${await freePort()}:80`;
    const { status, stdout, stderr } = await nodeos('start', app, '--publish', port, '--memory', '128M');
    for (const folder of ['/tmp', '/dev/shm', '/home/app']) {
      expect(stdout).toContain(`files ${folder} ENOSPC`);
      expect(stdout).toContain(`bytes ${folder} ENOSPC`);
      expect(stdout).toContain(`free ${folder} 0`);
    }
    expect(stdout + stderr).toContain('started again');
    expect(stdout + stderr).not.toContain('signal 9');
    expect(status).toBe(0);
  });
});

describe('an application that takes all the memory', () => {
  it('is ended as a whole with a message and started again', async () => {
    const code = `
      const fs = require('fs');
      if (fs.existsSync('/tmp/again')) { console.log('started again'); process.exit(0); }
      fs.writeFileSync('/tmp/again', '');
      require('child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true, stdio: 'ignore' });
      setTimeout(() => { for (const all = []; ; ) all.push(Buffer.alloc(1 << 20, 1)); }, 500);`;
    const app = await application({ 'main.js': code });
    const { stdout } = await nodeos('start', app, '--publish', `${await freePort()}:80`, '--memory', '160M');
    expect(stdout).toMatch(/signal 9 \(out of memory: it may have \d+ MiB\); starting it again/);
    expect(stdout).toContain('started again');
    expect(stdout).not.toContain('still there');
  });
});

describe('the remains of a crashed application', () => {
  it('are ended before the restart, so that its port is free', async () => {
    const code = `
      const http = require('http');
      const child = "require('http').createServer().listen(80, () => process.send('ready'))";
      http.createServer().once('error', (error) => { console.log('port 80:', error.code); process.exit(4); }).listen(80, function () {
        if (require('fs').existsSync('/tmp/again')) { console.log('has port 80'); process.exit(0); }
        require('fs').writeFileSync('/tmp/again', '');
        this.close(() => {
          require('child_process').spawn(process.execPath, ['-e', child], { detached: true, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }).once('message', () => process.exit(3));
        });
      });`;
    const app = await application({ 'main.js': code });
    const { status, stdout } = await nodeos('start', app, '--publish', `${await freePort()}:80`);
    expect(stdout).not.toContain('EADDRINUSE');
    expect(stdout).toContain('has port 80');
    expect(status).toBe(0);
  });
});
