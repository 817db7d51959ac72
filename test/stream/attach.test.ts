/**
 * `nodeos nbd attach` and `detach` with a kernel that has the driver. The command runs as an application in a guest.
 */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { remoteOf } from '../../packages/cli/nbd/attach.js';
import { bundle } from '../../packages/init/test/bundle.js';
import { freePort, LONG, ROOT, start } from '../support.js';
import { folder, replaceableServer } from './guest.js';
import { attachProgram } from './images.js';
import { HOST, nbdkit } from './machines.js';
import { nbd } from './nbd-command.js';

const MIB = 1 << 20;

/**
 * Runs the code that it receives: the body of a function with access to the command and to the state of the devices.
 */
const APP = `
  const fs = require('fs'), http = require('http');
  const { execFileSync, spawn } = require('child_process');
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  fs.copyFileSync('/app/nbd-attach', '/home/nbd-attach');
  fs.chmodSync('/home/nbd-attach', 0o755);
  const env = { ...process.env, NODEOS_NBD_ATTACH: '/home/nbd-attach' };
  const nbd = (...words) => {
    const child = spawn(process.execPath, ['/app/cli.mjs', 'nbd', ...words], { env });
    const said = { stdout: '', stderr: '' };
    for (const name of Object.keys(said)) child[name].setEncoding('utf8').on('data', (text) => (said[name] += text));
    const ended = new Promise((resolve) => child.on('close', (status) => resolve({ status, ...said })));
    return Object.assign(ended, { child, said });
  };
  const attached = (path) => fs.existsSync(path.replace('/dev/', '/sys/block/') + '/pid');
  const until = async (what) => { while (!what()) await sleep(20); };
  const size = (path) => Number(fs.readFileSync(path.replace('/dev/', '/sys/block/') + '/size', 'utf8')) * 512;
  const wordsOf = (pid) => { try { return fs.readFileSync('/proc/' + pid + '/cmdline', 'utf8').split('\\0').slice(0, -1); } catch { return []; } };
  const keepers = () => fs.readdirSync('/proc').map(wordsOf).filter(([program]) => program === '/home/nbd-attach')
    .map(([, ...words]) => words.join(' ')).sort();
  const given = { fs, execFileSync, nbd, attached, until, size, keepers };
  const Code = Object.getPrototypeOf(async () => 0).constructor;
  http.createServer(async ({ url }, response) => {
    const work = new Code(...Object.keys(given), decodeURIComponent(url.slice(1)));
    const answer = await work(...Object.values(given)).catch((error) => ({ error: error.stack }));
    response.end(JSON.stringify(answer ?? null));
  }).listen(80, () => console.log('up'));
`;

const app = join(folder, 'attaching');

/** Boots a machine. @returns a function that runs code in it and returns the result */
async function guest(): Promise<(code: string) => Promise<unknown>> {
  const port = await freePort();
  const machine = start(['start', app, '--publish', `${port}:80`, '--memory', '512M']);
  onTestFinished(async () => {
    machine.child.kill('SIGINT');
    await machine.ended;
  });
  await machine.waitForOutput(/^up$/m);
  return async (code) => {
    const url = `http://127.0.0.1:${port}/${encodeURIComponent(code)}`;
    return (await fetch(url, { signal: AbortSignal.timeout(100_000) })).json() as Promise<unknown>;
  };
}

describe('the arguments of attach', () => {
  it.each([
    ['nbd://10.0.0.2', undefined, 'nbd://10.0.0.2:10809/'],
    ['NBD://10.0.0.2:7/disk', undefined, 'nbd://10.0.0.2:7/disk'],
    ['nbd://10.0.0.2:80/a/../b', undefined, 'nbd://10.0.0.2:80/a/../b'],
    ['nbd://[fd00::2]/a%2Fb%20c//d', undefined, 'nbd://[fd00::2]:10809/a%2Fb%20c//d'],
    ['nbd://10.0.0.2/disk?connections=2', undefined, 'nbd://10.0.0.2:10809/disk?connections=2'],
    ['nbd://10.0.0.2/disk?connections=2', 3, 'nbd://10.0.0.2:10809/disk?connections=3'],
    ['nbd://10.0.0.2?connections=8', undefined, 'nbd://10.0.0.2:10809/?connections=8'],
    ['nbd://10.0.0.2/disk', 1, 'nbd://10.0.0.2:10809/disk?connections=1'],
  ])('%s with %s connections becomes %s for the tool', (uri, connections, expected) => {
    const remote = remoteOf(uri, connections);
    const { host, port } = remote.address;
    expect(remote.uriFor(`${host.includes(':') ? `[${host}]` : host}:${port}`)).toBe(expected);
  });

  it.each([
    [['nbd://'], 'cannot attach nbd://: '],
    [['nbd://host/%zz'], 'cannot attach nbd://host/%zz: '],
    [['nbd://host/x?conections=2'], 'unknown parameter conections='],
    [['nbd://host/x?connections=9'], 'expected connections=N, from 1 to 8'],
    [['nbd://host/x', '--connections', '9'], '--connections 9: expected a whole number from 1 to 8'],
    [['memory:1M', '--connections', '1.5'], '--connections 1.5: expected a whole number from 1 to 8'],
    [['memory:1M', '--timeout', '0.5'], '--timeout 0.5: expected a whole number from 0 to '],
    [['nbd://host/x', '--timeout', '1e10'], '--timeout 1e10: expected a whole number from 0 to '],
    [['nbd://host/x', '-r'], '--read-only: of an nbd:// URI, the server says what can be written\n  start'],
  ])('%j give status 2', async (args, words) => {
    expect(await nbd('attach', ...args)).toEqual({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining(words) as string,
    });
  });
});

describe('attach', () => {
  beforeAll(async () => {
    mkdirSync(app);
    const settings = { name: 'attaching', version: '1.0.0', main: 'main.js', nodeos: { user: 'root' } };
    writeFileSync(join(app, 'package.json'), JSON.stringify(settings));
    writeFileSync(join(app, 'main.js'), APP);
    copyFileSync(await attachProgram(), join(app, 'nbd-attach'));
    await bundle(join(ROOT, 'packages/cli/bin/nodeos.js'), join(app, 'cli.mjs'));
  }, LONG);

  it('attaches an export to a device until it is detached', async () => {
    const port = await freePort();
    const server = await replaceableServer(() => nbdkit(port, 'memory', '3M'));
    const run = await guest();
    const uri = `nbd://${HOST}:${port}/`;
    expect(await run(`return nbd('attach', '${uri}', '--timeout', '30')`)).toEqual({
      status: 0,
      stdout: '/dev/nbd0\n',
      stderr: '',
    });
    expect(await run(`return size('/dev/nbd0')`)).toBe(3 * MIB);
    await server.replace();
    expect(await run(`return fs.readFileSync('/dev/nbd0').length`)).toBe(3 * MIB);

    expect(await run(`return nbd('attach', '${uri}', '--connections', '2')`)).toMatchObject({ stdout: '/dev/nbd1\n' });
    expect(await run('return keepers()')).toEqual([`-t 30 ${uri} /dev/nbd0`, `${uri}?connections=2 /dev/nbd1`]);
    expect(await run(`return nbd('attach', '${uri}', '/dev/nbd1')`)).toMatchObject({
      status: 1,
      stderr: 'nodeos: /dev/nbd1 is in use\n  nodeos nbd detach /dev/nbd1, or take another one\n',
    });
    for (const device of ['/dev/nbd0', '/dev/nbd1']) {
      expect(await run(`return nbd('detach', '${device}')`)).toEqual({ status: 0, stdout: '', stderr: '' });
      expect(await run(`return attached('${device}')`)).toBe(false);
    }
    expect(await run('await until(() => keepers().length === 0); return 0')).toBe(0);
    expect(await run(`return nbd('detach', '/dev/nbd0')`)).toMatchObject({
      status: 1,
      stderr: 'nodeos: nothing is attached to /dev/nbd0\n',
    });
  });

  it('leaves a device alone after it was detached and attached to something else', async () => {
    const [port, other] = [await freePort(), await freePort()];
    const content = (byte: number): string[] => ['data', `data=${byte}*${MIB}`];
    await replaceableServer(() => nbdkit(port, ...content(1)));
    const server = await replaceableServer(() => nbdkit(other, ...content(2)));
    const run = await guest();
    for (const at of [port, other]) {
      const code = `return execFileSync('/home/nbd-attach', ['nbd://${HOST}:${at}/', '/dev/nbd0'], { encoding: 'utf8' })`;
      expect(await run(code)).toBe('');
      if (at === port) await run(`execFileSync('/home/nbd-attach', ['-d', '/dev/nbd0'])`);
    }
    // The process that kept the first attachment has not checked since.
    await server.replace();
    expect(await run(`return [...new Set(fs.readFileSync('/dev/nbd0'))]`)).toEqual([2]);
    expect(await run(`await until(() => keepers().length === 1); return keepers()`)).toEqual([
      `nbd://${HOST}:${other}/ /dev/nbd0`,
    ]);
  });

  it('rejects a device in use, and reports it if all are in use', async () => {
    const port = await freePort();
    await replaceableServer(() => nbdkit(port, 'memory', '1M'));
    const run = await guest();
    const code = `
      for (const name of fs.readdirSync('/sys/block').filter((name) => name.startsWith('nbd') && name !== 'nbd3'))
        execFileSync('/home/nbd-attach', ['nbd://${HOST}:${port}/', '/dev/' + name]);
      return [await nbd('attach', 'nbd://${HOST}:${port}/'), await nbd('attach', 'nbd://${HOST}:${port}/')]`;
    expect(await run(code)).toEqual([
      { status: 0, stdout: '/dev/nbd3\n', stderr: '' },
      {
        status: 1,
        stdout: '',
        stderr: expect.stringMatching(/^nodeos: all of the \d+ NBD devices are in use/) as string,
      },
    ]);
  });

  it('finds a server by its name', async () => {
    const run = await guest();
    const code = `
      const server = nbd('serve', 'memory:4M', '--export', 'a/../disk', '--listen', 'nbd://127.0.0.1:20000');
      await until(() => server.said.stdout !== '');
      const said = await nbd('attach', 'nbd://localhost:20000/a/../disk?connections=2', '/dev/nbd7');
      const bytes = size('/dev/nbd7');
      await nbd('detach', '/dev/nbd7');
      server.child.kill('SIGINT');
      return { ...said, bytes, server: (await server).status }`;
    expect(await run(code)).toEqual({ status: 0, stdout: '/dev/nbd7\n', stderr: '', bytes: 4 * MIB, server: 130 });
  });

  it.each([
    ['it is detached', `await nbd('detach', '/dev/nbd0')`, 0],
    ['Ctrl-C', `attaching.child.kill('SIGINT')`, 130],
  ])('serves any other source to the kernel until %s', async (_, end, status) => {
    const run = await guest();
    const code = `
      fs.writeFileSync('/home/disk', Buffer.alloc(${MIB}));
      const attaching = nbd('attach', '/home/disk');
      await until(() => attaching.said.stdout !== '');
      const device = fs.openSync('/dev/nbd0', 'r+');
      fs.writeSync(device, Buffer.alloc(8192, 'x'), 0, 8192, 4096);
      fs.fsyncSync(device);
      fs.closeSync(device);
      ${end};
      const { status } = await attaching;
      const bytes = fs.readFileSync('/home/disk');
      return { status, attached: attached('/dev/nbd0'), size: bytes.length, xs: bytes.filter((byte) => byte === 120).length }`;
    expect(await run(code)).toEqual({ status, attached: false, size: MIB, xs: 8192 });
  });

  it('rejects what it cannot do', async () => {
    const run = await guest();
    const fails = async (...words: string[]): Promise<string> => {
      const said = (await run(`return nbd('attach', ...${JSON.stringify(words)})`)) as Record<string, unknown>;
      expect(said).toMatchObject({ status: 1, stdout: '' });
      return String(said['stderr']);
    };
    expect(await fails(`nbd://${HOST}:1/`)).toMatch(/connection refused/);
    expect(await fails('nbd://localhost:1/')).toMatch(
      /^nodeos: cannot attach nbd:\/\/localhost:1\/: connect ECONNREFUSED/,
    );
    expect(await fails('nbd://nowhere.invalid/')).toMatch(/^nodeos: cannot attach nbd:\/\/nowhere\.invalid\/: /);
    expect(await fails('/nowhere')).toMatch(/cannot open \/nowhere: ENOENT/);
  });
});
