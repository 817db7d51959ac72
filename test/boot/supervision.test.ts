import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { application, eventsIn, exec, freePort, nodeos, start, temporary } from '../support.js';

/** Boots an application that ends by itself. */
async function boot(files: Record<string, string>, options: string[] = [], manifest: object = {}) {
  const app = await application(files, manifest);
  const port = await freePort();
  const result = await nodeos('start', app, '--publish', `${port}:80`, '--events', '--timeout', '90', ...options);
  return { ...result, events: eventsIn(result.stdout) };
}

describe('PID 1', () => {
  it('reaps 500 orphans', async () => {
    // Each child starts a grandchild and exits, so the grandchild ends as an orphan.
    const { stdout, stderr } = await exec(
      `(async () => {
       const cp = require('child_process');
       const zombies = () => fs.readdirSync('/proc').filter((p) => /^\\d+$/.test(p)).filter((p) => { try { return /^State:\\s+Z/m.test(fs.readFileSync('/proc/' + p + '/status', 'utf8')) } catch { return false } });
       const orphans = new Set();
       fs.writeFileSync('/tmp/child.js', \`
         const cp = require('child_process');
         for (let i = 0; i < 50; i++) console.log(cp.spawn('/init-orphan', [], { detached: true, stdio: 'ignore', argv0: 'orphan' }).pid);
         process.exit(0);\`);
       fs.symlinkSync('/lib/ld-musl-x86_64.so.1', '/init-orphan');
       for (let i = 0; i < 10; i++) for (const pid of cp.execFileSync('/bin/node', ['/tmp/child.js'], { encoding: 'utf8' }).trim().split('\\n')) orphans.add(pid);
       await new Promise((r) => setTimeout(r, 500));
       console.log(orphans.size, zombies().length, [...orphans].filter((pid) => fs.existsSync('/proc/' + pid)).length);
       })()`,
      '--memory',
      '512M',
    );
    expect(stdout.trim(), stderr).toBe('500 0 0');
  });

  it('powers off on request after the application has ended cleanly', async () => {
    const app = await application({
      'main.js': `
        process.on('SIGTERM', () => setTimeout(() => { console.log('the last word'); process.exit(0); }, 300));
        setInterval(() => {}, 1000);
        console.log('up');`,
    });
    const port = await freePort();
    const machine = start(['start', app, '--publish', `${port}:80`, '--events']);
    await machine.waitForOutput(/^up$/m);
    machine.child.kill('SIGINT');
    const { status, stdout } = await machine.ended;
    expect(status).toBe(130);
    expect(stdout).toContain('the last word');
    expect(eventsIn(stdout).map(({ event }) => event)).toEqual(expect.arrayContaining(['stop', 'exit', 'end']));
  });

  it('kills an application that ignores SIGTERM after a grace period', async () => {
    const app = await application({
      'main.js': `process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1000);`,
    });
    const machine = start(['start', app, '--publish', `${await freePort()}:80`, '--events']);
    await machine.waitForOutput(/^up$/m);
    machine.child.kill('SIGINT');
    const { stdout } = await machine.ended;
    const events = eventsIn(stdout);
    expect(events.find(({ event }) => event === 'exit')).toMatchObject({ signal: 9 });
    const [stop, exit] = ['stop', 'exit'].map((name) => events.find(({ event }) => event === name)?.us ?? 0);
    expect((exit ?? 0) - (stop ?? 0)).toBeGreaterThan(4.9e6);
  });

  it('reacts to the power button', async () => {
    const app = await application({ 'main.js': `console.log('up'); setInterval(() => {}, 1000);` });
    const monitor = join(await temporary(), 'qmp');
    const machine = start([
      'start',
      app,
      '--publish',
      `${await freePort()}:80`,
      '--',
      '-qmp',
      `unix:${monitor},server=on,wait=off`,
    ]);
    await machine.waitForOutput(/^up$/m);
    connect(monitor).end('{"execute":"qmp_capabilities"}\n{"execute":"system_powerdown"}\n');
    const { stdout } = await machine.ended;
    expect(stdout).toContain('nodeos: power button');
  });

  it('restarts a crashed application with increasing delays, and finally gives up', async () => {
    const { status, stdout, stderr, events } = await boot({ 'main.js': `console.log('try'); process.exit(3);` });
    expect(status).toBe(1);
    expect(stdout.match(/^try$/gm)).toHaveLength(3);
    expect(stdout).toContain('starting it again in 1 s');
    expect(stdout).toContain('starting it again in 2 s');
    expect(stderr).toContain('ended with status 3, 3 times in a row');
    const starts = events.filter(({ event }) => event === 'start').map(({ us }) => us);
    expect((starts[1] ?? 0) - (starts[0] ?? 0)).toBeGreaterThan(1e6);
    expect((starts[2] ?? 0) - (starts[1] ?? 0)).toBeGreaterThan(2e6);
    expect(stderr).not.toContain("the guest's port 80 is"); // it never listens
  });

  it('gives up an application that takes long to fail, and advises what it printed about', async () => {
    const code = `setTimeout(() => require('fs').mkdirSync('/app/data'), 11_000);`;
    const { stdout, stderr } = await boot({ 'main.js': code }, ['--append', 'nodeos.attempts=2']);
    expect(stdout).toContain('2 times in a row: giving up');
    expect(stderr).toContain('/app/data cannot be written');
  });

  it('always restarts the application if told so', async () => {
    const code = `
      const fs = require('fs');
      const n = fs.existsSync('/tmp/n') ? Number(fs.readFileSync('/tmp/n')) + 1 : 1;
      fs.writeFileSync('/tmp/n', String(n));
      console.log('run ' + n);
      process.exit(n < 3 ? 0 : 9);`;
    const { stdout } = await boot({ 'main.js': code }, [], { nodeos: { restart: 'always' } });
    expect(stdout).toContain('run 3');
  });

  it.each([
    ['poweroff', 1],
    ['reboot', 0],
  ])('follows nodeos.onexit=%s when the runtime is killed', async (onexit, how) => {
    const { events } = await boot({ 'main.js': `process.kill(process.pid, 'SIGKILL')` }, [
      '--append',
      `nodeos.restart=never nodeos.onexit=${onexit}`,
    ]);
    expect(events.find(({ event }) => event === 'exit')).toMatchObject({ signal: 9 });
    expect(events.find(({ event }) => event === 'stop')).toMatchObject({ how });
    expect(events.at(-1)).toMatchObject({ event: 'end', how });
  });

  it('prints its messages on separate lines, even within a line of the application', async () => {
    const { events } = await boot({
      'main.js': `process.stdout.write('half a line'); setTimeout(() => process.exit(0), 300);`,
    });
    expect(events.find(({ event }) => event === 'exit')).toMatchObject({ status: 0, signal: 0 });
  });

  it('keeps a log of bounded size', async () => {
    const { stdout } = await boot({
      'main.js': `
        const fs = require('fs');
        if (!fs.existsSync('/tmp/again')) {
          fs.writeFileSync('/tmp/again', '');
          for (let i = 0; i < 30000; i++) process.stdout.write('#'.repeat(60) + '\\n');
          process.exit(1);
        }
        setTimeout(() => { console.log('sizes', fs.statSync('/var/log/app.log').size, fs.statSync('/var/log/app.log.1').size); process.exit(0); }, 200);`,
    });
    const [, now = '', before = ''] = /sizes (\d+) (\d+)/.exec(stdout) ?? [];
    expect(Number(now)).toBeGreaterThan(0);
    expect(Number(now)).toBeLessThanOrEqual(512 << 10);
    expect(Number(before)).toBeLessThanOrEqual(512 << 10);
  });
});

describe('the application', () => {
  it('runs as an unprivileged user that cannot change the system, on port 80', async () => {
    const code = `
      const fs = require('fs');
      const attempt = (f) => { try { f(); return 'done'; } catch (e) { return e.code; } };
      console.log(JSON.stringify({
        ids: [process.getuid(), process.getgid(), process.getgroups()], cwd: process.cwd(), argv: process.argv, execArgv: process.execArgv,
        main: require.main === module, env: process.env, write: attempt(() => fs.writeFileSync('/etc/passwd', '')), app: attempt(() => fs.writeFileSync('/app/x', '')),
        home: attempt(() => fs.writeFileSync(process.env.HOME + '/x', '')), kill: attempt(() => process.kill(1, 'SIGTERM')),
        fds: fs.readdirSync('/proc/self/fd').map((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd) } catch { return '' } }).filter((t) => /vport|pipe|socket/.test(t)).length,
        threads: fs.readdirSync('/proc/self/task').map((t) => /^Uid:\\s+(\\d+)/m.exec(fs.readFileSync('/proc/self/task/' + t + '/status', 'utf8'))[1]),
      }));
      require('http').createServer().listen(process.env.PORT, () => { console.log('has port 80'); process.exit(0); });`;
    const { status, stdout } = await boot({ 'main.js': code });
    expect(status).toBe(0);
    expect(stdout).toContain('has port 80');
    const seen = JSON.parse(/^\{"ids".*$/m.exec(stdout)?.[0] ?? '{}') as Record<string, unknown>;
    expect(seen).toMatchObject({
      ids: [1000, 1000, [1000]],
      cwd: '/app',
      argv: ['/usr/bin/node', '/app/main.js'],
      execArgv: [],
      main: true,
      env: { PORT: '80', HOME: '/home/app', NODE_ENV: 'production' },
      write: 'EACCES',
      app: 'EACCES',
      home: 'done',
      kill: 'EPERM',
    });
    expect(new Set(seen['threads'] as unknown[])).toEqual(new Set(['1000']));
  });

  it.each([
    [
      'an ES module with top-level await',
      { 'main.mjs': `await null; console.log('ran', import.meta.filename)` },
      { main: 'main.mjs' },
      'ran /app/main.mjs',
    ],
    [
      'options of Node.js',
      { 'main.js': `console.log('ran', process.execArgv.join(), process.argv.slice(2).join())` },
      { scripts: { start: 'node --no-deprecation main.js one two' } },
      'ran --no-deprecation one,two',
    ],
    [
      'TypeScript',
      { 'main.ts': `const text: string = 'ran types'; console.log(text)` },
      { main: 'main.ts' },
      'ran types',
    ],
    [
      'as root, with an environment',
      { 'main.js': `console.log('ran', process.getuid(), process.env.COLOUR)` },
      { nodeos: { user: 'root', env: { COLOUR: 'blue' } } },
      'ran 0 blue',
    ],
  ])('can be %s', async (_, files, manifest, expected) => {
    const { status, stdout } = await boot(files, [], manifest);
    expect(stdout).toContain(expected);
    expect(status).toBe(0);
  });
});
