/**
 * A root over TLS (`root=nbds://`). Mbed TLS does the handshake and the kernel does the rest. The servers use GnuTLS
 * and OpenSSL.
 */
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { file, readOnly } from '@nodeos/block';
import { NbdServer, type ServerTls } from '@nodeos/nbd';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { authority } from '../../packages/nbd/test/pki.js';
import { freePort, LONG, nodeos } from '../support.js';
import {
  expectClean,
  ext4,
  folder,
  replacedInTurn,
  replaceableServer,
  startGuest,
  buildGuest,
  type Rounds,
} from './guest.js';
import { withTls, type Streamed } from './images.js';
import { boot, HOST, IP, nbdkit, qemuNbd, serve, type Server } from './machines.js';

const pki = join(folder, 'pki');
const foreign = join(folder, 'foreign');
const keys = join(folder, 'keys');
const [KEY, LONG_KEY] = [randomBytes(32), randomBytes(64)];

let system: Streamed;
/** Machines with all credentials, without a certificate, and with the credentials of somebody else. */
let known: Streamed, nobody: Streamed, stranger: Streamed, shared: Streamed;

beforeAll(async () => {
  const ours = authority(pki);
  ours.sign(pki, 'server', 'server', [HOST, '127.0.0.1']);
  ours.sign(join(folder, 'alice'), 'client', 'alice');
  mkdirSync(join(folder, 'nobody'));
  copyFileSync(ours.path, join(folder, 'nobody/ca-cert.pem'));
  authority(foreign).sign(foreign, 'client', 'mallory');
  mkdirSync(keys);
  for (const name of ['keys.psk', 'psk.txt'])
    writeFileSync(join(keys, name), `guest:${KEY.toString('hex')}\nlong:${LONG_KEY.toString('hex')}\n`, {
      mode: 0o600,
    });
  system = await buildGuest();
  known = await withTls(system, join(folder, 'alice'));
  nobody = await withTls(system, join(folder, 'nobody'));
  stranger = await withTls(system, foreign);
  shared = await withTls(system, keys);
}, LONG);

const at = (port: number, more = ''): string => `nbds://${HOST}:${port}/root${more}`;
const kit = (port: number, ...args: string[]): Promise<Server> =>
  nbdkit(port, '--tls=require', '-r', ...args, 'file', system.small);
const certified = (port: number, ...args: string[]): Promise<Server> => kit(port, `--tls-certificates=${pki}`, ...args);

function certifiedQemu(port: number, ...disk: string[]): Promise<Server> {
  const object = `tls-creds-x509,id=tls,endpoint=server,dir=${pki},verify-peer=yes`;
  return qemuNbd(port, '--object', object, '--tls-creds', 'tls', '-f', 'raw', '-x', 'root', ...disk);
}

/** The server of this project, in this process. */
async function ours(tls: Partial<ServerTls>): Promise<number> {
  const server = new NbdServer({
    exports: { root: { open: async () => readOnly(await file(system.small)) } },
    tls: { required: true, ...tls },
  });
  onTestFinished(() => server.close());
  return Number(new URL(await server.listen({ port: 0 })).port);
}

const pem = (name: string): Buffer => readFileSync(join(pki, name));
const certificate = (): Partial<ServerTls> => ({ cert: pem('server-cert.pem'), key: pem('server-key.pem') });

describe('a machine mounts its root over TLS', () => {
  it.each<[string, () => Streamed, () => Promise<string>]>([
    [
      'from nbdkit, with certificates of both',
      () => known,
      async () => {
        const port = await freePort();
        await replaceableServer(() => certified(port, '--tls-verify-peer'));
        return at(port);
      },
    ],
    [
      'from nbdkit, with a shared key',
      () => shared,
      async () => {
        const port = await freePort();
        await replaceableServer(() => kit(port, `--tls-psk=${join(keys, 'keys.psk')}`));
        return `nbds://guest@${HOST}:${port}/root`;
      },
    ],
    [
      'from qemu-nbd, by two connections',
      () => known,
      async () => {
        const port = await freePort();
        await replaceableServer(() => certifiedQemu(port, '-r', system.small));
        return at(port, '?connections=2');
      },
    ],
    [
      'from its own server, whatever its certificate',
      () => stranger,
      async () => at(await ours(certificate()), '?tls-verify-peer=false'),
    ],
    [
      'from its own server, which has another name',
      () => nobody,
      async () => at(await ours(certificate()), '?tls-hostname=server'),
    ],
    [
      'from its own server, with the key of a file',
      () => shared,
      async () => {
        const psk = { find: (name: string) => (name === 'guest' ? KEY : undefined) };
        return at(await ours({ psk }), '?tls-psk-file=/tls/keys.psk');
      },
    ],
    [
      'from its own server, with the longest key',
      () => shared,
      async () => `nbds://long@${HOST}:${await ours({ psk: { find: () => LONG_KEY } })}/root`,
    ],
  ])('%s', async (_, machineOf, uri) => {
    const { machine, get } = await startGuest(machineOf(), { append: [`root=${await uri()}`], usr: system.usr });
    expect(await get('read')).toBe(true);
    expect(await get('note')).toBe('x');
    await machine.powerOff();
    expect(machine.console).not.toMatch(/nodeos:|error/i);
  });
});

describe('a connection that is lost', () => {
  it('is restored over TLS and corrupts neither reads nor writes', async () => {
    const path = ext4('secured');
    const [rootPort, upperPort] = [await freePort(), await freePort()];
    const root = await replaceableServer(() => certified(rootPort));
    const upper = await replaceableServer(() => certifiedQemu(upperPort, path));
    const append = [`root=${at(rootPort)}`, `nodeos.upper=${at(upperPort)}`];
    const { machine, get } = await startGuest(known, { append, usr: system.usr });
    const before = await replacedInTurn(get, { root, upper }, [0, 100, 1000]);
    await get('keeper'); // a new keeper must find the program too
    await Promise.all([root.replace(), upper.replace()]);
    await sleep(1000);
    const { rounds, failures } = (await get('stop')) as Rounds;
    expect(rounds).toBeGreaterThan(before);
    expect(failures).toEqual([]);
    expect(machine.console).toMatch(/\/root\S*: connection lost; trying again/);
    await machine.powerOff();
    expectClean(path);
  });
});

describe('a TLS failure is explained:', () => {
  it.each<[string, () => Streamed, () => Promise<string>, RegExp]>([
    [
      'a server without TLS',
      () => known,
      async () => {
        const port = await freePort();
        await replaceableServer(() => nbdkit(port, '-r', 'file', system.small));
        return at(port);
      },
      /the server has no TLS/,
    ],
    [
      'a certificate of an authority that is not known',
      () => stranger,
      async () => at(await ours(certificate())),
      /the server's certificate: The certificate is not correctly signed by the trusted CA/,
    ],
    [
      'a certificate for another name',
      () => nobody,
      async () => at(await ours(certificate()), '?tls-hostname=another'),
      /the server's certificate: The certificate Common Name \(CN\) does not match/,
    ],
    [
      'no certificate, for a server that wants one',
      () => nobody,
      async () => {
        const port = await freePort();
        await replaceableServer(() => certified(port, '--tls-verify-peer'));
        return at(port);
      },
      /root: (the server ends TLS with alert \d+|the server hung up)/,
    ],
    [
      'no certificate, for a server of its own that wants one',
      () => nobody,
      async () => at(await ours({ ...certificate(), ca: pem('ca-cert.pem'), verifyClient: true })),
      /root: (the server ends TLS with alert 116: certificate required|the server hung up)/,
    ],
    [
      'another key',
      () => shared,
      async () => at(await ours({ psk: { find: () => randomBytes(32) } }), '?tls-psk-file=/tls/keys.psk'),
      /the server ends TLS with alert (47|51): /,
    ],
    [
      'no key of that name',
      () => shared,
      async () => `nbds://eve@${HOST}:${await ours({ psk: { find: () => KEY } })}/root`,
      /\/tls\/keys\.psk: there is no key of that name/,
    ],
    [
      'nobody to be trusted',
      () => shared,
      async () => at(await ours(certificate())),
      /\/tls: there is no ca-cert\.pem, so no server can be trusted/,
    ],
    [
      'keys where they do not stay',
      () => shared,
      () => Promise.resolve(`nbds://guest@${HOST}/root?tls-psk-file=/etc/keys.psk`),
      /certificates and keys must be in \/tls: nothing else stays in memory/,
    ],
    [
      'a server that says nothing',
      () => known,
      async () => {
        const port = await freePort();
        await replaceableServer(() =>
          serve(
            port,
            'nbdkit',
            '-f',
            `--port=${port}`,
            '--ipaddr=127.0.0.1',
            '--filter=delay',
            'null',
            '1M',
            'delay-open=60',
          ),
        );
        return at(port);
      },
      /the server has no TLS/,
    ],
  ])('%s', async (_, machineOf, uri, why) => {
    const machine = await boot(machineOf(), { append: [IP, `root=${await uri()}`, 'nodeos.nbd.wait=1'] });
    const { trouble } = await machine.ended;
    expect(machine.console).toMatch(/^nodeos: mount root: /m);
    expect(trouble?.cause).toMatch(why);
  });
});

describe('the commands', () => {
  it('start serves a root over TLS with a random key', async () => {
    const code = "console.log(fs.readFileSync('/proc/cmdline', 'utf8').match(/root=\\S+:/)[0], fs.existsSync('/tls'))";
    const { status, stdout, stderr } = await nodeos('start', '--root', 'nbds', '--exec', code);
    expect(status, stderr).toBe(0);
    expect(stdout).toBe('root=nbds://guest@10.0.2.2: false\n');
  });

  it('build puts certificates into an initramfs that only its owner can read', async () => {
    const out = join(folder, 'out');
    const { status, stderr } = await nodeos('build', 'initramfs-stream', '--tls', join(folder, 'alice'), '--out', out);
    expect(status, stderr).toBe(0);
    const initramfs = join(out, 'initramfs-stream');
    expect(statSync(initramfs).mode & 0o777).toBe(0o600);
    expect(readFileSync(initramfs).equals(readFileSync(known.initramfs))).toBe(true);
  });

  it.each([
    [['initramfs-stream', '--tls', '.'], 2, /--tls \.: only for initramfs-stream, and with --out/],
    [['kernel', '--tls', '.', '--out', 'x'], 2, /--tls \.: only for initramfs-stream, and with --out/],
    [['initramfs-stream', '--tls', '/var', '--out', '/nowhere'], 1, /\/var has no certificates and no keys/],
  ])('build rejects %j', async (words, expected, why) => {
    const { status, stderr } = await nodeos('build', ...words);
    expect(status).toBe(expected);
    expect(stderr).toMatch(why);
  });
});
