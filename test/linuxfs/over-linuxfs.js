// Runs a program whose files below a folder are those of an image: over-linuxfs.js KERNEL IMAGE FOLDER PROGRAM
//
// `fs.promises` and the functions of `fs` with callbacks become ours there. The kernel is a worker thread's, so that `fs.…Sync`, which programs use to prepare
// and look, can wait for it: this thread sleeps until the worker has the result.
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import {
  isMainThread,
  MessageChannel,
  parentPort,
  receiveMessageOnPort,
  Worker,
  workerData,
} from 'node:worker_threads';
import { open } from '@nodeos/linuxfs';
import { fsError } from '../../packages/linuxfs/dist/errors.js';
import { MountedFilesystem } from '../../packages/linuxfs/dist/mounted.js';
import { bigIntStatsOf, statsOf } from '../../packages/linuxfs/dist/stats.js';
import { Volume } from '../../packages/linuxfs/dist/volume.js';

const SLOTS = 8;
/** Descriptors from here on are those of the image. */
const OURS = 1 << 20;
const DESCRIPTORS = new Set([
  ...['close', 'read', 'readv', 'write', 'writev', 'fstat', 'fsync', 'fdatasync'],
  ...['ftruncate', 'fchmod', 'fchown', 'futimes'],
]);

/** The worker: has the kernel, and does what the other thread asks. */
async function serve({ kernel: path, image, folder, port, flag }) {
  const disk = await open(image, { kernel: path });
  const mounted = await disk.mount({ umask: process.umask() });
  const { kernel, mount } = mounted.volume;
  await mounted.promises.mkdir(folder, { recursive: true });
  const lent = [];
  for (let i = 0; i < SLOTS; i++) void kernel.slots.with(({ number }) => new Promise(() => lent.push(number)));
  const sync = async ({ name, args }) => {
    const given = args.map((arg) => (arg instanceof Uint8Array ? Buffer.from(arg) : arg));
    if (name === 'stat' || name === 'lstat')
      return mounted.volume.stat({ path: given[0], isLink: name === 'lstat' }, name);
    if (name === 'exists')
      return mounted.promises.access(given[0]).then(
        () => true,
        () => false,
      );
    if (DESCRIPTORS.has(name) || name === 'open') return promisify(mounted.fs[name])(...given);
    return mounted.promises[name](...given);
  };
  port.on('message', (message) => {
    const done = sync(message).then(
      (value) => ({ value }),
      ({ errno, syscall, path, dest, message: text }) => ({ error: { errno, syscall, path, dest, text } }),
    );
    void done.then((result) => {
      port.postMessage(result);
      Atomics.store(flag, 0, 1);
      Atomics.notify(flag, 0);
    });
  });
  parentPort.on('message', async ({ id, request }) =>
    parentPort.postMessage({ id, reply: await kernel.call(request) }),
  );
  await new Promise((done) => setTimeout(done, 0));
  parentPort.postMessage({
    mount,
    memory: kernel.memory,
    slots: lent.map((number) => [number, kernel.slots.places[number]]),
  });
}

/** A kernel as `Volume` wants it, which is the worker's. */
function proxyOf(worker, { memory, slots }) {
  const waiting = new Map();
  const [free, queue] = [[...slots], []];
  let last = 0;
  worker.on('message', ({ id, reply }) => {
    waiting.get(id)(typeof reply === 'number' ? reply : { ...reply, data: Buffer.from(reply.data) });
    waiting.delete(id);
    if (waiting.size === 0) worker.unref();
  });
  worker.unref();
  return {
    end: undefined,
    error: fsError,
    call: (request) =>
      new Promise((done) => {
        waiting.set(++last, done);
        worker.ref();
        worker.postMessage({ id: last, request });
      }),
    slots: {
      async with(use) {
        const slot = free.pop() ?? (await new Promise((done) => queue.push(done)));
        const [number, position] = slot;
        const bytes = (length) => {
          const read = Buffer.alloc(length);
          fs.readSync(memory, read, 0, length, position);
          return read;
        };
        try {
          return await use({
            number,
            bytes,
            read: (into, length) => into.set(bytes(length)),
            write: (from) => fs.writeSync(memory, from, 0, from.length, position),
          });
        } finally {
          const next = queue.shift();
          if (next) next(slot);
          else free.push(slot);
        }
      },
    },
  };
}

const ENOENT = 2;
const TWO_PATHS = new Set(['copyFile', 'cp', 'link', 'rename']);

const SYNC = [
  'access',
  'appendFile',
  'chmod',
  'chown',
  'close',
  'copyFile',
  'cp',
  'exists',
  'futimes',
  'link',
  'lstat',
  'mkdir',
  'mkdtemp',
  'open',
  'readFile',
  'readdir',
  'readlink',
  'realpath',
  'rename',
  'rm',
  'rmdir',
  'stat',
  'symlink',
  'truncate',
  'unlink',
  'utimes',
  'writeFile',
];

const { readFileSync } = fs;

async function main() {
  const [, , kernel, image, folder, program] = process.argv;
  const { port1, port2 } = new MessageChannel();
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: { kernel, image, folder, port: port2, flag },
    transferList: [port2],
    execArgv: [],
  });
  const said = await new Promise((done) => worker.once('message', done));
  const ours = new MountedFilesystem(new Volume(proxyOf(worker, said), said.mount), {
    type: 'ext4',
    isReadOnly: false,
    size: 0,
    release: async () => undefined,
  });

  const isThere = (path) => {
    if (!(typeof path === 'string' || path instanceof URL || Buffer.isBuffer(path))) return undefined;
    const text = path instanceof URL ? fileURLToPath(path) : String(path);
    return `${resolve(text)}/`.startsWith(`${folder}/`);
  };
  /** Paths elsewhere are the host's; what is no path is ours to refuse. */
  const isElsewhere = (args) => isThere(args[0]) === false || args[0] instanceof real.FileHandleClass;
  const real = { ...fs.promises, FileHandleClass: (await fs.promises.open('/dev/null')).constructor };
  for (const [name, method] of Object.entries(real)) {
    if (typeof method !== 'function' || typeof ours.promises[name] !== 'function') continue;
    const own = ours.promises[name].bind(ours.promises);
    fs.promises[name] = (...args) => (isElsewhere(args) ? method(...args) : own(...absolute(name, args)));
  }
  /** Paths begin at the root: the folder that this process is in is none of the kernel's. What is in a link stays. */
  const absolute = (name, args) => {
    const paths = name === 'symlink' ? [1] : TWO_PATHS.has(name) ? [0, 1] : [0];
    return args.map((arg, index) =>
      paths.includes(index) && typeof arg === 'string' && isThere(arg) ? resolve(arg) : arg,
    );
  };
  const isOurs = (name, args) =>
    DESCRIPTORS.has(name) ? args[0] >= OURS : isThere(args[name === 'symlink' ? 1 : 0]) === true;
  for (const [name, own] of Object.entries(ours.fs)) {
    const method = fs[name];
    if (typeof own !== 'function' || typeof method !== 'function' || name.startsWith('create')) continue;
    const either = (...args) => {
      if (!isOurs(name, args)) return method(...args);
      if (DESCRIPTORS.has(name)) args[0] -= OURS;
      if (name !== 'open') return own(...absolute(name, args));
      const callback = args.pop();
      own(...absolute(name, args), (error, fd) => callback(error, fd === undefined ? undefined : fd + OURS));
    };
    fs[name] = Object.assign(either, method, name === 'realpath' ? { native: either } : {});
  }
  for (const name of SYNC) {
    const method = fs[`${name}Sync`];
    fs[`${name}Sync`] = (...args) => {
      if (name === 'copyFile' && !isThere(args[0]) && isThere(args[1]))
        return fs.writeFileSync(args[1], readFileSync(args[0]));
      if (!isOurs(name, args)) return method(...args);
      if (DESCRIPTORS.has(name)) args[0] -= OURS;
      Atomics.store(flag, 0, 0);
      port1.postMessage({ name, args: absolute(name, args) });
      while (Atomics.load(flag, 0) === 0) Atomics.wait(flag, 0, 0); // the call before may wake us late
      const { value, error } = receiveMessageOnPort(port1).message;
      if (error?.errno === -ENOENT && args[1]?.throwIfNoEntry === false) return undefined;
      if (error && error.errno === undefined) throw new Error(error.text);
      if (error) throw fsError(-error.errno, error.syscall, error.path, error.dest);
      if (name === 'stat' || name === 'lstat') return args[1]?.bigint ? bigIntStatsOf(value) : statsOf(value);
      if (name === 'open') return value + OURS;
      return value instanceof Uint8Array ? Buffer.from(value) : value;
    };
  }
  fs.realpathSync.native = fs.realpathSync;
  // A process can only be in a folder of the host: of ours it just keeps the name.
  const { cwd, chdir } = process;
  let inside;
  process.cwd = () => inside ?? cwd();
  process.chdir = (path) => {
    const wanted = resolve(path);
    if (!isThere(wanted)) chdir(wanted);
    inside = isThere(wanted) ? wanted : undefined;
  };
  syncBuiltinESMExports();
  process.argv.splice(1, 4, program);
  if (program.endsWith('.mjs')) await import(pathToFileURL(program));
  else createRequire(program)(program);
}

if (isMainThread) await main();
else await serve(workerData);
