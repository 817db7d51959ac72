/**
 * What Node.js has from its C and C++ libraries, and from what it is linked with: the same on each of them. Prints a
 * line of JSON with an answer by name; an error is one, too.
 */
import child from 'node:child_process';
import crypto from 'node:crypto';
import dgram from 'node:dgram';
import dns from 'node:dns/promises';
import fs from 'node:fs';
import inspector from 'node:inspector';
import { getCACertificates, rootCertificates } from 'node:tls';
import net from 'node:net';
import os from 'node:os';
import sqlite from 'node:sqlite';
import v8 from 'node:v8';
import vm from 'node:vm';
import { Worker } from 'node:worker_threads';
import zlib from 'node:zlib';

const top = '/tmp/probe';
fs.mkdirSync(`${top}/tree/folder`, { recursive: true });
fs.writeFileSync(`${top}/tree/folder/file`, 'content');
fs.utimesSync(`${top}/tree/folder/file`, 1e9, 1e9);
fs.symlinkSync('folder/file', `${top}/tree/link`);
const recursive = true;
const listening = (server, ...where) =>
  new Promise((resolve, reject) => server.on('error', reject).listen(...where, () => server.close(resolve('listens'))));
const event = (emitter, name) => new Promise((resolve) => emitter.once(name, resolve));
const node = (...args) => child.execFileSync(process.execPath, args, { encoding: 'utf8', stdio: 'pipe' });

const PROBES = {
  // files: std::filesystem, and what libuv does with threads
  'a tree is copied': () => {
    fs.cpSync(`${top}/tree`, `${top}/copy`, { recursive, preserveTimestamps: true, verbatimSymlinks: true });
    const { mtimeMs } = fs.statSync(`${top}/copy/folder/file`);
    return [fs.readdirSync(`${top}/copy`, { recursive }).sort(), fs.readlinkSync(`${top}/copy/link`), mtimeMs];
  },
  'a tree is filtered': () => {
    fs.cpSync(`${top}/tree`, `${top}/some`, { recursive, filter: (name) => !name.endsWith('link') });
    return fs.readdirSync(`${top}/some`);
  },
  'a file is copied': () => fs.cpSync(`${top}/tree/folder/file`, `${top}/one`),
  'a file is there already': () =>
    fs.cpSync(`${top}/tree/folder/file`, `${top}/tree/link`, { errorOnExist: true, force: false }),
  'a folder is copied into itself': () => fs.cpSync(`${top}/tree`, `${top}/tree/folder/tree`, { recursive }),
  'a folder is no file': () => fs.cpSync(`${top}/tree`, `${top}/none`),
  'nothing is copied': () => fs.cpSync(`${top}/missing`, `${top}/none`),
  'a tree is removed': () => {
    fs.cpSync(`${top}/tree`, `${top}/gone`, { recursive });
    fs.rmSync(`${top}/gone`, { recursive });
    return fs.existsSync(`${top}/gone`);
  },
  'a folder is removed as a file': () => fs.rmSync(`${top}/tree/folder`),
  'nothing is removed': () => fs.rmSync(`${top}/missing`),
  'a path is resolved': () => fs.realpathSync.native(`${top}/tree/../tree/link`),
  'a name is too long': () => fs.mkdirSync('x'.repeat(300)),
  'entries have types': () =>
    fs
      .readdirSync('/dev', { withFileTypes: true })
      .filter(({ name }) => ['null', 'pts', 'stdin'].includes(name))
      .map((entry) => [entry.name, entry.isCharacterDevice(), entry.isDirectory(), entry.isSymbolicLink()]),
  'a link has a time': () => {
    fs.lutimesSync(`${top}/tree/link`, 1e9, 1e9);
    return fs.lstatSync(`${top}/tree/link`).mtimeMs;
  },
  // users, hosts, networks
  user: () => os.userInfo(),
  groups: () => [process.initgroups('root', 0), process.setegid('root'), process.getgroups()],
  priority: () => [os.setPriority(5), os.getPriority()],
  'a host that is not known': () => dns.lookup('nowhere.invalid'),
  'a service': () => dns.lookupService('127.0.0.1', 80),
  IPv6: () => listening(net.createServer(), 0, '::1'),
  'a socket with a name': () => listening(net.createServer(), `${top}/socket`),
  'a group': async () => {
    const socket = dgram.createSocket('udp4').bind(0);
    await event(socket, 'listening');
    socket.setMulticastTTL(3);
    socket.addMembership('224.0.0.251', '127.0.0.1');
    socket.close();
  },
  // processes and threads
  'a program that is not there': () => event(child.spawn('/missing'), 'error').then(({ code, path }) => [code, path]),
  'a child that aborts': () => child.spawnSync(process.execPath, ['-e', 'process.abort()']).signal,
  'a long variable': () => {
    const env = { LONG: 'x'.repeat(100_000) };
    return child.execFileSync(process.execPath, ['-p', 'process.env.LONG.length'], { env, encoding: 'utf8' });
  },
  'what is permitted': () => node('--permission', '-p', 'process.permission.has("fs.write", "/tmp")'),
  'a thread without memory': () => {
    const code = 'const all = []; for (;;) all.push(new Array(1e5).fill(1))';
    return event(new Worker(code, { eval: true, resourceLimits: { maxOldGenerationSizeMb: 20 } }), 'error').then(
      ({ code }) => code,
    );
  },
  'a stack that is too deep': () => {
    const deeper = () => deeper();
    return deeper();
  },
  'a thread that waits': () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20),
  // numbers, words, times
  numbers: () => [(1.005).toFixed(2), 0.1 + 0.2, (123.456).toExponential(3), parseFloat('1e-320'), 2.5 ** 3.7],
  functions: () =>
    ['sin', 'tan', 'exp', 'cbrt', 'log1p', 'expm1', 'cosh', 'atanh'].map((name) => Math[name](0.123456789)),
  dates: () =>
    ['de', 'ja', 'ar-EG', 'hi', 'th-TH-u-ca-buddhist'].map((locale) =>
      new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeZone: 'America/New_York' }).format(1e12),
    ),
  currencies: () =>
    ['de', 'ja', 'ar-EG'].map((locale) =>
      new Intl.NumberFormat(locale, { style: 'currency', currency: 'EUR' }).format(1234567.891),
    ),
  'the order of letters': () => ['ä', 'z', 'a'].sort(new Intl.Collator('sv').compare),
  'a time zone': () => node('-p', 'process.env.TZ = "Asia/Tokyo"; new Date(0).toString()'),
  encodings: () =>
    ['utf-16le', 'shift_jis', 'gb18030', 'windows-1252'].map((name) =>
      new TextDecoder(name).decode(new Uint8Array([0x82, 0xa0, 0x41, 0])),
    ),
  // what it is linked with
  compression: () =>
    [
      zlib.gunzipSync(zlib.gzipSync('a')),
      zlib.brotliDecompressSync(zlib.brotliCompressSync('b')),
      zlib.zstdDecompressSync(zlib.zstdCompressSync('c')),
    ].join(''),
  ciphers: () => [crypto.getCiphers().length, crypto.getHashes().length, crypto.getCurves().length],
  certificates: () => [rootCertificates.length, getCACertificates('system').length],
  keys: () => crypto.generateKeyPairSync('ed25519').publicKey.asymmetricKeyType,
  argon2: () =>
    crypto
      .argon2Sync('argon2id', {
        message: 'a',
        nonce: new Uint8Array(16),
        parallelism: 1,
        tagLength: 16,
        memory: 64,
        passes: 1,
      })
      .toString('hex'),
  database: () => {
    const database = new sqlite.DatabaseSync(`${top}/database`);
    database.exec("create table one (two); insert into one values (1.5), ('three')");
    return database.prepare('select * from one').all();
  },
  'a picture of the heap': () => fs.statSync(v8.writeHeapSnapshot(`${top}/heap`)).size > 100_000,
  inspector: () => {
    inspector.open(0);
    const url = inspector.url();
    inspector.close();
    return url.slice(0, 15);
  },
  'another context': () => vm.runInNewContext('1 + 1'),
  'a module': () => import('data:text/javascript,export default 5').then((module) => module.default),
};

const answers = {};
for (const [name, probe] of Object.entries(PROBES)) {
  try {
    answers[name] = (await probe()) ?? null;
  } catch (error) {
    answers[name] = `${error.name} ${error.code}: ${error.message}`;
  }
}
console.log(JSON.stringify(answers));
process.exit();
