/** Systems by the C library of their runtime. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { request, eventsIn, freePort, LONG, nodeos, ROOT, start, temporary, valueOf } from '../support.js';
import { answersInGuest, PROBE, PROBED, type Answers } from './answers.js';

const run = promisify(execFile);
const onMusl = (body: string, ...options: string[]): Promise<unknown> => valueOf(body, '--libc', 'musl', ...options);

/** What the machine has, and not the C library: its users, its services, its certificates. */
const OF_THE_HOST = ['user', 'a service', 'certificates'];

/** The same Node.js with this host's glibc: for a machine with glibc, a second kernel would have to be compiled. */
async function answersOnGlibc(): Promise<Answers> {
  const { status, stdout, stderr } = await nodeos('build', 'runtime', '--libc', 'glibc');
  expect(status, stderr).toBe(0);
  const root = join(stdout.trim().replace(/^\S+: /, ''), 'root');
  const [top, script] = [await temporary(), join(await temporary(), 'probe.mjs')];
  await writeFile(script, (await readFile(PROBE, 'utf8')).replace(PROBED, top));
  const answers = await run(join(root, 'bin/node'), [script], { env: {}, maxBuffer: 1 << 24 });
  return JSON.parse(answers.stdout.replaceAll(top, PROBED)) as Answers;
}

describe('Node.js on musl', { timeout: LONG }, () => {
  it('is the official build, with the libraries of the toolchain and one of its own', async () => {
    const { stdout } = await nodeos('build', 'runtime', '--libc', 'musl');
    const root = join(stdout.trim().replace(/^\S+: /, ''), 'root');
    const files = (await run('find', [root, '!', '-type', 'd', '-printf', '%P\\n'])).stdout.trim().split('\n').sort();
    expect(files).toEqual([
      'bin/node',
      'lib/ld-linux-x86-64.so.2', // not glibc's: the library of what only glibc has
      'lib/ld-musl-x86_64.so.1',
      'lib/libatomic.so.1',
      'lib/libc.musl-x86_64.so.1',
      'lib/libgcc_s.so.1',
      'lib/libstdc++.so.6',
    ]);
    const node = (await run('readelf', ['-hlW', join(root, 'bin/node')])).stdout;
    expect(node).toMatch(/Type: +EXEC/); // nothing is left for the loader to relocate
    expect(node).toContain('program interpreter: /lib/ld-musl-x86_64.so.1]');
    expect(node).toMatch(/GNU_STACK .* 0x800000 +RW/); // the stack of threads
    for (const name of files.slice(1)) {
      const text = (await run('readelf', ['-dlVW', join(root, name)])).stdout;
      expect(text).not.toMatch(/GLIBC_|RPATH|RUNPATH|TEXTREL/);
      expect(text).not.toMatch(/GNU_STACK .* RWE/);
    }
  });

  it('is taken for what it is, by packages that look for the C library', async () => {
    const seen = await onMusl(`
      const { header, sharedObjects } = process.report.getReport();
      return [process.version, header.glibcVersionRuntime, require('node:sea').isSea(),
        sharedObjects.filter((path) => path.startsWith('/')).sort()]`);
    expect(seen).toEqual([
      'v26.12.1',
      '',
      false,
      expect.arrayContaining(['/lib/ld-musl-x86_64.so.1', '/lib/libstdc++.so.6']),
    ]);
  });

  it('does what Node.js is for', async () => {
    const seen = await onMusl(`
      const { Worker } = require('worker_threads');
      const crypto = require('crypto');
      const deep = (n) => (n === 0 ? 0 : 1 + deep(n - 1));
      const worker = new Worker("const deep = (n) => (n === 0 ? 0 : 1 + deep(n - 1)); require('worker_threads').parentPort.postMessage(deep(5000))", { eval: true });
      const answered = new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
      const server = require('http').createServer((request, response) => response.end('hello')).listen(0);
      await new Promise((resolve) => server.once('listening', resolve));
      const inspector = require('inspector');
      inspector.open(0, '127.0.0.1', false);
      const debugging = /^ws:/.test(inspector.url());
      inspector.close();
      const fetched = await (await fetch('http://127.0.0.1:' + server.address().port)).text();
      server.close();
      return {
        worker: await answered,
        main: deep(8000), debugging, fetched,
        scrypt: crypto.scryptSync('a', 'b', 16).toString('hex'),
        zlib: require('zlib').brotliDecompressSync(require('zlib').brotliCompressSync('text')).toString(),
        intl: [new Intl.NumberFormat('de-DE').format(1234.5), new Intl.DateTimeFormat('ja-JP', { timeZone: 'Asia/Tokyo', dateStyle: 'long' }).format(0)],
        name: await require('dns').promises.lookup('localhost').then(({ address }) => address),
        child: require('child_process').execFileSync(process.execPath, ['-p', '6 * 7']).toString().trim(),
        wasm: WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])),
      }`);
    expect(seen).toEqual({
      worker: 5000,
      main: 8000,
      debugging: true,
      fetched: 'hello',
      scrypt: expect.stringMatching(/^[0-9a-f]{32}$/),
      zlib: 'text',
      intl: ['1.234,5', '1970年1月1日'],
      name: expect.stringMatching(/^(127\.0\.0\.1|::1)$/), // musl puts IPv6 first
      child: '42',
      wasm: true,
    });
  });

  it('answers as on glibc', async () => {
    const [musl, glibc] = [await answersInGuest('--libc', 'musl'), await answersOnGlibc()];
    expect(Object.keys(musl)).toEqual(Object.keys(glibc));
    for (const name of OF_THE_HOST) glibc[name] = musl[name];
    expect(musl).toEqual(glibc);
    const errors = Object.entries(musl).filter(([, answer]) => /^\w*Error /.test(String(answer)));
    expect(errors.map(([name]) => name)).toEqual([
      'a file is there already',
      'a folder is copied into itself',
      'a folder is no file',
      'nothing is copied',
      'a folder is removed as a file',
      'nothing is removed',
      'a name is too long',
      'a host that is not known',
      'a stack that is too deep',
    ]);
  });

  it('runs an application with a tree of dependencies, on both machines', async () => {
    for (const machine of ['q35', 'microvm']) {
      const port = await freePort();
      const args = ['start', join(ROOT, 'examples/fastify'), '--libc', 'musl', '--machine', machine];
      const guest = start([...args, '--publish', `${port}:80`, '--events']);
      await guest.waitForOutput(/the guest's port 80/); // built by then
      expect(await (await request(`http://127.0.0.1:${port}/`)).text()).not.toBe('');
      guest.child.kill('SIGINT');
      const { stdout } = await guest.ended;
      expect(eventsIn(stdout).map(({ event }) => event)).toEqual(expect.arrayContaining(['pid1', 'app', 'end']));
    }
  });

  it('finds its way in the initramfs too', async () => {
    const code = 'return process.report.getReport().header.glibcVersionRuntime';
    expect(await onMusl(code, '--runtime', 'initramfs')).toBe('');
  });
});

describe('mimalloc in place of the allocator of musl', { timeout: LONG }, () => {
  it('serves the application, its threads and its children', async () => {
    const seen = await onMusl(
      `
      const { Worker } = require('worker_threads');
      const loaded = "process.report.getReport().sharedObjects.includes('/lib/preload.so')";
      const work = "const parts = []; for (let i = 0; i < 2000; i++) parts.push(Buffer.allocUnsafeSlow(i * 17 % 40000 + 1)); require('worker_threads').parentPort.postMessage(parts.length)";
      const workers = [1, 2].map(() => new Promise((resolve) => new Worker(work, { eval: true }).on('message', resolve)));
      return {
        here: eval(loaded),
        child: require('child_process').execFileSync(process.execPath, ['-p', loaded]).toString().trim(),
        workers: await Promise.all(workers),
        zlib: require('zlib').gunzipSync(require('zlib').gzipSync('text')).toString(),
      }`,
      '--allocator',
      'mimalloc',
    );
    expect(seen).toEqual({ here: true, child: 'true', workers: [2000, 2000], zlib: 'text' });
  });

  it('goes with musl only', async () => {
    const { status, stderr } = await nodeos('build', '--libc', 'glibc', '--allocator', 'mimalloc');
    expect([status, stderr]).toEqual([2, expect.stringContaining('--allocator mimalloc: only with --libc musl')]);
  });
});
