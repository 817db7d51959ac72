/**
 * The outputs of the steps, built with the host's tools: PID 1, the addon, the bundled init, and the attach program.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { build as esbuild } from 'esbuild';
import { contractHeader } from '@nodeos/contract';
import { memory } from '@nodeos/block';
import type { Target } from '@nodeos/targets';
import type { Step, StepContext } from '@nodeos/engine';
import { NbdServer } from '@nodeos/nbd';
import { HOST_COMPILER } from '@nodeos/toolchain';
import { fuzz, type Player } from '../../nbd/test/fuzz.js';
import { nbdAttach } from '../attach.js';
import { init } from '../init.js';
import { ATTACH } from '../programs.js';
import { nameServer, type NameServer } from './name-server.js';
import { LinuxSyscalls, SyscallError } from '../guest/syscalls.js';

const SERVFAIL = 2;
const HERE = fileURLToPath(new URL('..', import.meta.url));
const INCLUDES = [join(dirname(process.execPath), '../include/node'), '/usr/include/node', '/usr/local/include/node'];
const include = INCLUDES.find((path) => existsSync(join(path, 'node_api.h')));
const lacking = [
  ...(process.platform === 'linux' && process.arch === 'x64' ? [] : ['Linux on x86_64']),
  ...['gcc', 'readelf'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined),
  ...(include === undefined ? ['the headers of Node.js'] : []),
];

const root = mkdtempSync(join(tmpdir(), 'nodeos-native-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Runs the recipes of both steps in a separate folder. */
async function make(name: string): Promise<string> {
  const [dir, runtime, guest] = ['output', 'runtime', 'guest'].map((part) => join(root, name, part));
  if (dir === undefined || runtime === undefined || guest === undefined) throw new Error('unreachable');
  mkdirSync(dir, { recursive: true });
  mkdirSync(join(runtime, 'include'), { recursive: true });
  execFileSync('ln', ['-s', include ?? '', join(runtime, 'include/node')]);
  const sources = readdirSync(join(HERE, 'guest')).map((file) => join(HERE, 'guest', file));
  await esbuild({ entryPoints: sources, outdir: guest, format: 'esm' });
  const folders = ['lib', 'netroot', 'pid1', 'attach', 'addon'];
  const files: Record<string, string> = { guest };
  for (const folder of folders) files[folder] = join(HERE, folder);
  const context = {
    dir,
    work: join(root, name),
    input: () => runtime,
    file: (file: string) => files[file],
    progress: () => undefined,
    run: (tool: string, args: string[], { cwd }: { cwd: string }) => {
      execFileSync(tool, args, { cwd, stdio: 'pipe' });
      return Promise.resolve();
    },
  };
  for (const step of [init({} as Target, {} as Step, HOST_COMPILER), nbdAttach({} as Target, HOST_COMPILER).step])
    await step.build(context as unknown as StepContext);
  return dir;
}

describe.skipIf(lacking.length > 0)(
  `the native programs${lacking.map((what) => ` (not here: ${what})`).join('')}`,
  () => {
    let output = '';
    const readelf = (name: string, ...options: string[]): string =>
      execFileSync('readelf', ['-W', ...options, join(output, name)], { encoding: 'utf8' });
    beforeAll(async () => {
      output = await make('one');
    });

    describe.each(['init', 'nbd-attach'])('%s', (name) => {
      it('is a static program without dependencies', () => {
        expect(readelf(name, '-h')).toMatch(/Type:\s+EXEC/);
        const segments = readelf(name, '-l');
        expect(segments).not.toMatch(/INTERP|DYNAMIC/);
        expect(segments).toMatch(/LOAD .* R E /);
      });

      it('has neither an executable stack nor memory that is both writable and executable', () => {
        const segments = readelf(name, '-l');
        expect(segments).toMatch(/GNU_STACK .* RW +0x/);
        expect(segments).not.toMatch(/ RWE /);
      });

      it('is small and executable', () => {
        const { size, mode } = statSync(join(output, name));
        expect(size).toBeLessThan(48 << 10);
        expect(mode & 0o111).not.toBe(0);
      });
    });

    /** All programs that attach devices parse the same words and speak the same protocol. */
    describe('nbd-attach', () => {
      const said = (...words: string[]): string =>
        spawnSync(join(output, 'nbd-attach'), words, { encoding: 'utf8' }).stdout;

      it.each([
        ['nbd://user@10.0.2.2/x', /a user is of nbds:\/\/ only/],
        [`nbds://${'u'.repeat(256)}@10.0.2.2/x`, /a user is of nbds:\/\/ only, and not so long/],
        ['nbds://10.0.2.2/x?tls-hostname=a&tls=1', /there may be connections=N, tls-hostname=/],
        [`nbds://10.0.2.2/x?tls-certificates=${'c'.repeat(256)}`, /a path or a name is too long/],
        ['nbd://10.0.2.2/x?tls-hostname=a', /there may be connections=N/],
        ['http://10.0.2.2/x', /expected nbd:\/\/HOST/],
        ['nbd:///x', /"" is neither an address, such as 10\.0\.2\.2 or \[fd00::2\], nor a name/],
        ['nbd://10.0.2/x', /"10.0.2" is neither an address/],
        ['nbd://10.0.2.256/x', /"10.0.2.256" is neither an address/],
        ['nbd://10.0.2.2.1/x', /"10.0.2.2.1" is neither an address/],
        ['nbd://[1:2:3:4:5:6:7]/x', /"1:2:3:4:5:6:7" is neither an address/],
        ['nbd://[1:2:3:4:5:6:7:8::]/x', /is neither an address/],
        ['nbd://[1::2::3]/x', /"1::2::3" is neither an address/],
        ['nbd://[12345::]/x', /is neither an address/],
        ['nbd://[10.0.2.2]/x', /"10.0.2.2" is neither an address/],
        ['nbd://[server]/x', /"server" is neither an address/],
        ['nbd://a..b/x', /"a..b" is neither an address/],
        ['nbd://.a/x', /".a" is neither an address/],
        ['nbd://a%20b/x', /"a%20b" is neither an address/],
        [`nbd://${'a'.repeat(64)}/x`, /is neither an address/],
        [`nbd://${'a.'.repeat(127)}/x`, /is neither an address/],
        ['nbd://10.0.2.2:0/x', /there may be :PORT/],
        ['nbd://10.0.2.2:65536/x', /there may be :PORT/],
        ['nbd://10.0.2.2:1x/x', /there may be :PORT/],
        ['nbd://10.0.2.2/x?connections=9', /connections=N is from 1 to 8/],
        ['nbd://10.0.2.2/x?tls=1', /there may be connections=N/],
        [`nbd://10.0.2.2/${'%78'.repeat(100)}${'x'.repeat(413)}`, /the export's name is too long/],
      ])('reports what is wrong with %s', (uri, why) => {
        expect(said(uri, '/dev/nbd0')).toMatch(why);
      });

      it.each([
        [[]],
        [['-r', 'names', 'nbd://x/x', '/dev/nbd0']],
        [['-r', '1.1.1.1:99999', 'nbd://x/x', '/dev/nbd0']],
        [['nbd://10.0.2.2/x']],
        [['nbd://10.0.2.2/x', '/dev/sda']],
        [['-d']],
        [['-x', 'y', '/dev/nbd0']],
      ])('prints its usage for %j', (words) => {
        expect(said(...words)).toMatch(/^nodeos: usage: nbd-attach/);
      });

      it.each(['127.0.0.1', '[::1]', '[0:0:0:0:0:0:0:1]', '[0000:0::0001]'])(
        'reports that nobody listens at %s',
        (address) => {
          // Uses ioctl, which connects first on any kernel.
          expect(said('-i', `nbd://${address}:1/x`, '/dev/nbd0')).toMatch(/: connection refused\n$/);
        },
      );

      describe('with host names', () => {
        const looked = async (words: readonly string[]): Promise<string> => {
          const child = spawn(join(output, 'nbd-attach'), ['-i', ...words, '/dev/nbd99999']);
          let text = '';
          child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
          await once(child, 'close');
          return text;
        };
        const longest = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`;
        const known = {
          'disks.example.org': ['127.0.0.1'],
          six: ['::1'],
          [longest]: ['127.0.0.1'],
        };
        let names: NameServer;
        beforeAll(async () => {
          names = await nameServer(known);
        });
        afterAll(() => {
          names.close();
        });
        beforeEach(() => {
          names.addresses = known;
          names.queries.length = 0;
        });
        const asking = (name: string): Promise<string> =>
          looked(['-r', `127.0.0.1:${names.port}`, `nbd://${name}:1/x`]);

        it.each(['disks.example.org', 'six', longest, 'disks.example.org.'])(
          'connects to the address of %s',
          async (name) => {
            expect(await asking(name)).toMatch(/: connection refused\n$/);
          },
        );

        it('reports an unknown name after asking for both address types', async () => {
          expect(await asking('nobody')).toMatch(/: the name server knows no address of "nobody"\n$/);
          expect([...new Set(names.queries)]).toEqual(['nobody 1', 'nobody 28']);
        });

        it('reports that no name server replies', async () => {
          names.addresses = undefined;
          expect(await asking('disks.example.org')).toMatch(
            /no name server answers, to look up "disks\.example\.org"\n$/,
          );
          const closed = ['-r', '127.0.0.1:1', '-r', 'fe80::1'];
          expect(await looked([...closed, 'nbd://x/x'])).toMatch(/no name server answers/);
        });

        it('asks the second name server if the first is unreachable or fails', async () => {
          const both = ['-r', '127.0.0.1:1', '-r', `127.0.0.1:${names.port}`];
          expect(await looked([...both, 'nbd://disks.example.org:1/x'])).toMatch(/: connection refused\n$/);
          const confused = await nameServer({}, { error: SERVFAIL });
          const second = ['-r', `127.0.0.1:${confused.port}`, '-r', `127.0.0.1:${names.port}`];
          expect(await looked([...second, 'nbd://disks.example.org:1/x'])).toMatch(/: connection refused\n$/);
          expect(new Set(confused.queries)).toEqual(new Set(['disks.example.org 1']));
          confused.close();
        });

        it('asks in lower case, and asks again if a packet is lost', async () => {
          const [good, at] = [names.addresses, names.queries];
          names.addresses = undefined;
          const answer = asking('Disks.EXAMPLE.org');
          while (at.length === 0) await sleep(10);
          names.addresses = good;
          expect(await answer).toMatch(/: connection refused\n$/);
          expect(at.length).toBeGreaterThan(1);
          expect(new Set(at)).toEqual(new Set(['disks.example.org 1']));
        });

        it('does not ask a name server for localhost', async () => {
          expect(await asking('localhost')).toMatch(/: connection refused\n$/);
          expect(names.queries).toEqual([]);
        });
      });

      it('authenticates with the secret end of the name from its input and never prints it', async () => {
        const opened: (string | undefined)[] = [];
        const disk = { open: () => memory(1 << 20) };
        const server = new NbdServer({
          exports: { 'disk-secret': disk, secret: disk },
          onEvent: ({ event, export: name }) => {
            if (event === 'open') opened.push(name);
          },
        });
        const uri = await server.listen({ port: 0 });
        // The device does not exist. The program gets this far only after a successful handshake.
        const attached = (name: string, input: string): Promise<string> =>
          new Promise((resolve) => {
            const child = spawn(join(output, 'nbd-attach'), ['-i', '-s', `${uri}/${name}`, '/dev/nbd99999']);
            let text = '';
            child.stdout.on('data', (part: Buffer) => (text += part.toString()));
            child.on('close', () => resolve(text));
            child.stdin.end(input);
          });
        try {
          for (const [name, input] of [
            ['disk-', 'secret\n'],
            ['', 'secret'],
          ] as const)
            expect(await attached(name, input)).toMatch(/nbd99999: no such (file|device)/);
          expect(opened).toEqual(['disk-secret', 'secret']);
          const refused = await attached('disk-', 'password');
          expect(refused).toMatch(/: the server has no export "disk-"\n$/);
          expect(await attached('', 's'.repeat(600))).toMatch(/the export's name is too long/);
        } finally {
          await server.close(0);
        }
      });

      it('survives hostile name servers, servers (before and after TLS), netlink replies, URIs and disks', () => {
        const program = join(root, 'hostile-bytes');
        const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover', '-Wno-unused-function'];
        const units = ATTACH.units.filter((unit) => !/\/(tls|netlink|keeper|nbd-attach)\.c$/.test(unit));
        const sources = ['test/hostile-bytes.c', ...units].map((unit) => join(HERE, unit));
        writeFileSync(join(root, 'contract.h'), contractHeader());
        execFileSync('gcc', ['-O1', '-g', `-I${root}`, ...sanitizers, '-o', program, ...sources]);
        const said = execFileSync(program, ['1', '300000'], { encoding: 'utf8' });
        const [addresses, exports, secured, numbers, partitions] = said.split(' ').map(Number);
        // Most replies contain readable addresses despite the damage, and many servers have an export.
        expect(addresses, said).toBeGreaterThan(300_000);
        expect(exports).toBeGreaterThan(1000);
        expect(secured).toBeGreaterThan(500);
        expect(numbers).toBeGreaterThan(1000);
        expect(partitions).toBeGreaterThan(10_000);
      }, 60_000);

      it('survives any reply of a server', async () => {
        const number = (value: number | bigint, size: number): Buffer =>
          Buffer.from(value.toString(16).padStart(size * 2, '0'), 'hex');
        const reply = (type: number, ...data: Buffer[]): Buffer =>
          Buffer.concat([
            number(0x3e889045565a9n, 8),
            number(7, 4),
            number(type, 4),
            number(Buffer.concat(data).length, 4),
            ...data,
          ]);
        const info = (type: number, ...data: Buffer[]): Buffer => reply(3, number(type, 2), ...data);
        const player: Player = {
          messages: (dice) => [
            Buffer.from(`NBDMAGICIHAVEOPT\0${dice.pick(['\x03', '\x01', '\0'])}`, 'latin1'),
            info(0, number(1 << 20, 8), number(1, 2)),
            ...(dice.percent(50) ? [info(3, number(1, 4), number(4096, 4), number(1 << 25, 4))] : []),
            ...(dice.percent(30) ? [info(dice.int(9), dice.bytes(dice.int(300)))] : []),
            dice.percent(70) ? reply(1) : reply(2 ** 31 + dice.int(9), dice.bytes(dice.int(400))),
          ],
          async play(writes) {
            const server = createServer((socket) => {
              socket.on('error', () => undefined).resume();
              for (const bytes of writes) socket.write(bytes);
              socket.end();
            });
            await once(server.listen(0, '127.0.0.1'), 'listening');
            const uri = `nbd://127.0.0.1:${(server.address() as AddressInfo).port}/x`;
            // The device does not exist, so even a successful handshake must not attach it.
            const child = spawn(join(output, 'nbd-attach'), ['-i', uri, '/dev/nbd99999'], { stdio: 'ignore' });
            const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
            server.close();
            if (status !== 1) throw new Error(`it ended with ${signal ?? String(status)}`);
          },
        };
        const figures = await fuzz(player, 1, 2000);
        expect(figures.sessions).toBeGreaterThan(300);
      }, 120_000);
    });

    describe('the addon', () => {
      type Syscall = (...args: unknown[]) => number;
      const load = (): Syscall => createRequire(import.meta.url)(join(output, 'syscalls.node')) as Syscall;
      const [WRITE, GETPID, UNAME, CHDIR] = [1, 39, 63, 80];

      it('needs no library', () => {
        expect(readelf('syscalls.node', '-d')).not.toMatch(/NEEDED/);
        expect(readelf('syscalls.node', '-l')).not.toMatch(/ RWE /);
      });

      it('makes system calls', () => {
        expect(load()(GETPID)).toBe(process.pid);
        const names = Buffer.alloc(6 * 65);
        expect(load()(UNAME, names)).toBe(0);
        expect(names.toString('latin1', 0, names.indexOf(0))).toBe('Linux');
      });

      it('passes strings, Buffers and null', () => {
        const here = process.cwd();
        expect(load()(CHDIR, here)).toBe(0);
        expect(load()(WRITE, -1, Buffer.from('x'), 1)).toBe(-9);
        expect(load()(CHDIR, null)).toBe(-14); // EFAULT
      });

      it('returns an error of the kernel as a negative number', () => {
        expect(load()(CHDIR, '/nowhere/at all')).toBe(-2);
        expect(load()(CHDIR, `/${'ä'.repeat(100)}`)).toBe(-2);
        expect(load()(999_999)).toBe(-38); // ENOSYS
        expect(load()(CHDIR, `/${'x'.repeat(4000)}`)).toBe(-36); // ENAMETOOLONG: the addon accepted it
      });

      it.each([
        ['no arguments', []],
        ['too many', [GETPID, 1, 2, 3, 4, 5, 6, 7]],
        ['undefined', [GETPID, undefined]],
        ['an object', [GETPID, {}]],
        ['a boolean', [GETPID, true]],
        ['a function', [GETPID, () => 1]],
        ['a symbol', [GETPID, Symbol('x')]],
        ['a bigint', [GETPID, 1n]],
        ['an array', [GETPID, [1]]],
      ])('refuses %s', (_, args) => {
        expect(() => load()(...args)).toThrow(TypeError);
      });

      it('returns the address of a Buffer', () => {
        const [PIPE2, READ, WRITEV] = [293, 0, 20];
        const addon = load() as Syscall & { addressOf: (bytes?: unknown) => number };
        const ends = Buffer.alloc(8);
        expect(addon(PIPE2, ends, 0)).toBe(0);
        const [from, to] = [ends.readInt32LE(0), ends.readInt32LE(4)];
        // struct iovec: address and length
        const described = Buffer.alloc(16);
        described.writeBigUInt64LE(BigInt(addon.addressOf(Buffer.from('pointed at'))), 0);
        described.writeBigUInt64LE(10n, 8);
        expect(addon(WRITEV, to, described, 1)).toBe(10);
        const bytes = Buffer.alloc(10);
        expect(addon(READ, from, bytes, 10)).toBe(10);
        expect(bytes.toString()).toBe('pointed at');
        for (const fd of [from, to]) closeSync(fd);
        for (const wrong of [undefined, null, 1, 'x', {}]) expect(() => addon.addressOf(wrong)).toThrow(TypeError);
      });

      it.each([4095, 4096, 5000, 100_000])('refuses a string of %i bytes instead of cutting it', (length) => {
        expect(() => load()(CHDIR, 'x'.repeat(length))).toThrow('longer than 4091 bytes');
      });
    });

    it('serve the system calls of the init', () => {
      const path = join(output, 'syscalls.node');
      const sys = new LinuxSyscalls(path);
      const raw = createRequire(import.meta.url)(path) as (...args: unknown[]) => number;
      const fd = sys.socket(2, 2 | 0o2000000, 0);
      const address = Buffer.from([2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
      sys.setsockopt(fd, 1, 2, Buffer.from([1, 0, 0, 0]));
      sys.bind(fd, address);
      expect(raw(51, fd, address, Buffer.from([16, 0, 0, 0]))).toBe(0); // getsockname: the assigned port
      const bytes = Buffer.alloc(100);
      expect(sys.receive(fd, bytes, 5)).toBe(-1);
      sys.send(fd, Buffer.from('hello'), address);
      expect(sys.receive(fd, bytes, 5000)).toBe(5);
      expect(bytes.toString('latin1', 0, 5)).toBe('hello');
      expect(() => sys.ioctl(fd, 0x8933, Buffer.alloc(40))).toThrow(new SyscallError('ioctl', -19)); // no such interface
      expect(() => sys.bind(-1, address)).toThrow('bind: EBADF');
      sys.close(fd);
      const before = sys.now();
      sys.sleep(2);
      expect(sys.now() - before).toBeGreaterThanOrEqual(1000);
    });

    it('are identical when built in another folder', async () => {
      const again = await make('another folder');
      expect(readdirSync(again).sort()).toEqual(['init', 'init.js', 'nbd-attach', 'syscalls.node']);
      for (const name of readdirSync(again)) {
        const bytes = readFileSync(join(again, name));
        expect(bytes.equals(readFileSync(join(output, name)))).toBe(true);
        for (const path of [root, HERE]) expect(bytes.includes(path)).toBe(false);
      }
    });

    it('include an init that is one script', () => {
      const path = join(output, 'init.js');
      execFileSync(process.execPath, ['--check', path]);
      const modules = [...readFileSync(path, 'utf8').matchAll(/require\("([^"]+)"\)/g)].map(([, name]) => name);
      expect(modules.length).toBeGreaterThan(0);
      for (const name of modules) expect(name).toMatch(/^node:/);
    });
  },
);
