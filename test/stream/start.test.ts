/** `nodeos start --root nbd`: the command itself serves the root to the machine. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Cache } from '@nodeos/engine';
import { describe, expect, it } from 'vitest';
import { application, request, freePort, nodeos, start, temporary } from '../support.js';

const ADMIN = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
const MOUNTS = `console.log(fs.readFileSync('/proc/mounts', 'utf8').split('\\n').filter((line) => / (\\/|\\/usr) /.test(line)).map((line) => line.split(' ').slice(0, 3).join(' ')).join(';'))`;

/** The files in the cache that contain the text and are at least as new as another file. */
function cached(text: string, since: string): string[] {
  const { root } = new Cache();
  const tests = ['-type', 'f', '-cnewer', since, '-exec', 'grep', '-lF', text, '{}', '+'];
  const { stdout } = spawnSync('find', ['steps', 'tmp', ...tests], { cwd: root, encoding: 'utf8' });
  return stdout.split('\n').filter((line) => line !== '');
}

describe('a machine with a served root', () => {
  it.each([
    [[], 'overlay / overlay;/dev/pmem0 /usr erofs\n'],
    [['--runtime', 'root'], 'overlay / overlay\n'],
    [['--machine', 'microvm'], 'overlay / overlay;/dev/vda /usr erofs\n'],
  ])('runs code %j', async (options, mounts) => {
    const { status, stdout, stderr } = await nodeos('start', '--root', 'nbd', ...options, '--exec', MOUNTS);
    expect(status, stderr).toBe(0);
    expect(stdout).toBe(mounts);
  });

  it('serves an application that can write to its root, writes no image, and leaves nothing behind', async () => {
    const data = randomBytes(5000).toString('hex');
    const app = await application({
      'main.js': `const fs = require('fs'); require('http').createServer((_, response) => {
        fs.writeFileSync('/home/app/note', 'written'); response.end(fs.readFileSync('/home/app/note', 'utf8') + fs.readFileSync('/app/data')); }).listen(80);`,
      data,
    });
    const [port, TMPDIR] = [await freePort(), await temporary()];
    const before = readdirSync(app);
    // The outputs of the application's step are served directly from the cache.
    const expectNothingElse = (temporary: readonly string[]): void => {
      expect(readdirSync(app)).toEqual(before);
      const found = readdirSync(TMPDIR, { recursive: true, encoding: 'utf8' });
      expect(found.map((path) => path.replace(/^nodeos-key-[^/]+/, 'key')).sort()).toEqual(temporary);
      const made = cached(data.slice(0, 100), join(app, 'package.json'));
      expect(made).toEqual([expect.stringMatching(/^steps\/app\/[^/]+\/[^/]+\/output\/files\/data$/)]);
    };
    const machine = start(['start', app, '--root', 'nbd', '--publish', `${port}:80`], { env: { TMPDIR } });
    expect(await (await request(`http://127.0.0.1:${port}`)).text()).toBe(`written${data}`);
    // The initramfs with the credentials: about 40 KB.
    expectNothingElse(['key', 'key/initramfs']);
    machine.child.kill('SIGINT');
    expect((await machine.ended).status).toBe(130);
    expectNothingElse([]);
  });

  it('writes a trace of its reads', async () => {
    const folder = await temporary();
    const trace = join(folder, 'trace');
    const { status, stderr } = await nodeos('start', '--root', 'nbd', '--trace', trace, '--exec', '0');
    expect(status, stderr).toBe(0);
    const lines = readFileSync(trace, 'utf8').trim().split('\n');
    const [first, ...records] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(first).toMatchObject({ export: 'root' });
    expect(records.length).toBeGreaterThan(1);
    expect(records.every(({ op }) => op === 'read')).toBe(true);
    const drawn = await nodeos('nbd', 'plot', trace);
    expect(drawn.stdout).toMatch(/^<svg /);
  });
});

describe('the changes of a machine', () => {
  const count = `const file = '/root/count'; const n = fs.existsSync(file) ? Number(fs.readFileSync(file)) : 0;
    fs.writeFileSync(file, String(n + 1)); console.log(n);`;

  it('are kept in a file that is an ordinary filesystem', async () => {
    const file = join(await temporary(), 'changes.ext4');
    for (const times of ['0\n', '1\n', '2\n']) {
      const { status, stdout, stderr } = await nodeos('start', '--root', 'nbd', '--persist', file, '--exec', count);
      expect(status, stderr).toBe(0);
      expect(stdout).toBe(times);
    }
    const checked = spawnSync('e2fsck', ['-fn', file], { encoding: 'utf8', env: ADMIN });
    expect(checked.status, checked.stdout + checked.stderr).toBe(0);
    expect(
      execFileSync('debugfs', ['-R', 'cat /upper/root/count', file], {
        encoding: 'utf8',
        env: ADMIN,
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    ).toBe('3');
    expect(statSync(file).blocks * 512).toBeLessThan(64 << 20);
  });

  it('cannot be shared by two machines', async () => {
    const file = join(await temporary(), 'changes.ext4');
    const one = start([
      'start',
      '--root',
      'nbd',
      '--persist',
      file,
      '--exec',
      'console.log("up"); setTimeout(() => 0, 60000)',
    ]);
    await new Promise<void>((resolve) =>
      one.child.stdout?.on('data', (bytes: Buffer) => bytes.includes('up') && resolve()),
    );
    const two = await nodeos('start', '--root', 'nbd', '--persist', file, '--exec', '0');
    expect(two.status).toBe(1);
    expect(two.stderr).toContain(`--persist ${file}`);
    expect(two.stderr).toContain('end the other machine, or take another file');
    one.child.kill('SIGINT');
    await one.ended;
  });

  it('need a folder that exists', async () => {
    const { status, stderr } = await nodeos('start', '--root', 'nbd', '--persist', '/nowhere/at/all', '--exec', '0');
    expect(status).toBe(1);
    expect(stderr).toMatch(/--persist \/nowhere\/at\/all: .*ENOENT/);
  });
});
