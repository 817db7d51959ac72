/**
 * Records conversations with foreign servers, damages them, and plays them to the TLS handshake program.
 * NODEOS_HANDSHAKES=N plays N of them instead of 20 000:
 *
 *     NODEOS_HANDSHAKES=1000000 npx vitest run test/stream/handshake.test.ts
 *
 * Each hunt prints its results. A failed hunt keeps its folder, with the conversation in the file `culprit`.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { authority } from '../../packages/nbd/test/pki.js';
import { freePort, LONG } from '../support.js';
import { handshakeHarness } from './handshake.js';
import { nbdkit } from './machines.js';

const COUNT = Number(process.env['NODEOS_HANDSHAKES'] ?? 20_000);
const SEED = process.env['NODEOS_SEED'] ?? '1';

/** Ways to play a conversation: harness.c, world.h. */
const LENIENT = 1;
const HUNG_UP = 2;

/** Results: those of handshake.c, and the alert protocol_version. */
const [DONE, ANOTHER_TIME, NEVER, OLD] = [0, 1, 2, 128 + 70];

const folder = mkdtempSync(join(tmpdir(), 'nodeos-handshake-'));
const [ec, rsa, keys, nobody] = ['ec', 'rsa', 'keys', 'nobody'].map((name) => join(folder, name)) as [
  string,
  string,
  string,
  string,
];
const psk = join(keys, 'keys.psk');
const KEY = Buffer.alloc(32, 7);
let failed = false;
let harness = '';
afterAll(() => {
  if (!failed) rmSync(folder, { recursive: true, force: true });
});

beforeAll(async () => {
  for (const [path, kind] of [
    [ec, 'ec'],
    [rsa, 'rsa'],
  ] as const) {
    const ca = authority(path, 'a test', kind);
    ca.sign(path, 'server', 'server', ['127.0.0.1']);
    ca.sign(path, 'client', 'alice');
  }
  for (const path of [keys, nobody]) mkdirSync(path);
  writeFileSync(psk, `guest:${KEY.toString('hex')}\n`, { mode: 0o600 });
  harness = await handshakeHarness();
}, LONG);

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

/** A server with the OpenSSL of Node.js. */
async function openssl(options: TlsOptions): Promise<number> {
  const server = createTlsServer(options, (socket) => socket.on('error', () => undefined).end());
  server.on('tlsClientError', () => undefined);
  onTestFinished(() => void server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return portOf(server);
}

const pem = (path: string, name: string): Buffer => readFileSync(join(path, `${name}.pem`));
const certified = (path: string, more: TlsOptions = {}): Promise<number> =>
  openssl({ cert: pem(path, 'server-cert'), key: pem(path, 'server-key'), ...more });
const knowing = (path: string): TlsOptions => ({ requestCert: true, ca: pem(path, 'ca-cert') });
/** The client sends no share for this group, so the server requests one (HelloRetryRequest). */
const OTHER_GROUP: TlsOptions = { ecdhCurve: 'P-384' };
const shared = (more: TlsOptions = {}): Promise<number> =>
  openssl({ pskCallback: () => KEY, ciphers: 'TLS_AES_128_GCM_SHA256:PSK', ...more });

/** OpenSSL's own server program in stateless mode: it keeps no state until a client returns its cookie. */
async function stateless(): Promise<number> {
  const port = await freePort();
  const files = ['-cert', join(ec, 'server-cert.pem'), '-key', join(ec, 'server-key.pem')];
  const child = spawn('openssl', ['s_server', '-stateless', '-accept', `127.0.0.1:${port}`, ...files, '-tls1_3']);
  onTestFinished(() => void child.kill());
  await once(child.stdout, 'data'); // ACCEPT
  return port;
}

/** GnuTLS in nbdkit, after NBD's own negotiation. @returns a port that starts with TLS */
async function gnutls(...args: readonly string[]): Promise<number> {
  const port = await freePort();
  const server = await nbdkit(port, '--tls=require', ...args, 'null', '1M');
  onTestFinished(() => server.kill());
  const front = createServer((socket) => {
    const behind = connect(port, '127.0.0.1');
    for (const one of [socket, behind]) one.on('error', () => undefined);
    behind.write(
      Buffer.concat([Buffer.from([0, 0, 0, 3]), Buffer.from('IHAVEOPT'), Buffer.from([0, 0, 0, 5, 0, 0, 0, 0])]),
    );
    const begin = (): void => {
      if (behind.read(18 + 20) === null) return; // the greeting, and the confirmation of TLS
      behind.off('readable', begin).pipe(socket).pipe(behind);
    };
    behind.on('readable', begin);
  });
  onTestFinished(() => void front.close());
  await once(front.listen(0, '127.0.0.1'), 'listening');
  return portOf(front);
}

interface Hunt {
  /** The arguments of the program under test. */
  readonly words: readonly string[];
  readonly peers: Readonly<Record<string, readonly [end: number, how: number, () => Promise<number>]>>;
}

const HUNTS: Readonly<Record<string, Hunt>> = {
  'with certificates': {
    words: ['-n', 'server', ec],
    peers: {
      plain: [DONE, 0, () => certified(ec)],
      mutual: [DONE, 0, () => certified(ec, knowing(ec))],
      again: [DONE, 0, () => certified(ec, { ...OTHER_GROUP, ...knowing(ec) })],
      cookie: [NEVER, 0, stateless], // Mbed TLS 3.6.6 takes it for an unsolicited extension
      gnutls: [DONE, 0, () => gnutls(`--tls-certificates=${ec}`, '--tls-verify-peer')],
      ended: [ANOTHER_TIME, HUNG_UP, () => certified(ec)],
      old: [OLD, 0, () => certified(ec, { maxVersion: 'TLSv1.2' })],
    },
  },
  'with certificates of RSA': {
    words: ['-n', 'server', rsa],
    peers: {
      mutual: [DONE, 0, () => certified(rsa, knowing(rsa))],
      refused: [ANOTHER_TIME, HUNG_UP, () => certified(rsa, { ...knowing(ec), rejectUnauthorized: true })],
      stranger: [NEVER, 0, () => certified(ec)],
    },
  },
  'with the certificate of an address': {
    words: ['-n', '127.0.0.1', ec],
    peers: { plain: [DONE, 0, () => certified(ec)], again: [DONE, 0, () => certified(ec, OTHER_GROUP)] },
  },
  'with any certificate': {
    words: ['-k', nobody],
    peers: {
      mutual: [DONE, 0, () => certified(rsa, knowing(rsa))],
      gnutls: [DONE, 0, () => gnutls(`--tls-certificates=${ec}`)],
    },
  },
  'with a shared key': {
    words: ['-u', 'guest', '-p', psk, keys],
    peers: {
      plain: [DONE, 0, () => shared()],
      again: [DONE, 0, () => shared(OTHER_GROUP)],
      gnutls: [DONE, 0, () => gnutls(`--tls-psk=${psk}`)],
      ended: [ANOTHER_TIME, HUNG_UP, () => shared()],
      certified: [128 + 109, 0, () => certified(ec)],
    },
  },
};

/** @returns the exit status of the program in the harness */
async function statusOf(...args: readonly (string | number)[]): Promise<number> {
  const { stdout } = await promisify(execFile)(harness, args.map(String));
  return Number(/^\d+/.exec(stdout)?.[0] ?? NaN);
}

interface Figures {
  readonly played: number;
  /** Places in the code that were reached by the recorded conversations alone, and with the damaged ones. */
  readonly recorded: number;
  readonly reached: number;
  readonly kept: number;
  readonly statuses: Readonly<Record<string, number>>;
}

/** The folder with the recorded conversations of each hunt. */
const recordings = new Map<string, Promise<string>>();
async function recorded(name: string, { words, peers }: Hunt): Promise<string> {
  const to = join(folder, name);
  mkdirSync(to);
  for (const [peer, [end, how, listen]] of Object.entries(peers)) {
    const path = join(to, peer);
    expect([peer, await statusOf('record', how, await listen(), path, ...words)]).toEqual([peer, end]);
  }
  return to;
}
const recordedOnce = (name: string, hunt: Hunt): Promise<string> => {
  const found = recordings.get(name) ?? recorded(name, hunt);
  recordings.set(name, found);
  return found;
};

describe.each(Object.entries(HUNTS))('a handshake %s', (name, hunt) => {
  it('ends in memory as it did with the real server', async () => {
    const from = await recordedOnce(name, hunt);
    for (const [peer, [end]] of Object.entries(hunt.peers))
      expect([peer, await statusOf('play', join(from, peer), ...hunt.words)]).toEqual([peer, end]);
  });

  it(
    'does no harm when it is damaged, and is not accepted as valid',
    async () => {
      const from = await recordedOnce(name, hunt);
      const out = join(folder, `${name}, found`);
      mkdirSync(out);
      const share = Math.ceil(COUNT / Object.keys(HUNTS).length);
      failed = true;
      const began = Date.now();
      const { stdout } = await promisify(execFile)(harness, ['fuzz', SEED, String(share), from, out, ...hunt.words]);
      failed = false;
      const figures = JSON.parse(stdout) as Figures;
      if (process.env['NODEOS_HANDSHAKES']) console.log(name, (Date.now() - began) / 1000, 's', figures);
      expect(figures.played).toBe(share);
      expect(figures.reached).toBeGreaterThan(figures.recorded * 1.1);
      expect(figures.kept).toBeGreaterThan(20);
      // Some complete despite the damage, others end with an alert or early.
      for (const status of [DONE, ANOTHER_TIME, NEVER]) expect(figures.statuses[status]).toBeGreaterThan(0);
    },
    LONG,
  );
});

describe('the harness', () => {
  it('detects a wrong Finished message unless told not to check', async () => {
    const name = 'with certificates';
    const hunt = HUNTS[name] as Hunt;
    const path = join(await recordedOnce(name, hunt), 'plain');
    const spoilt = join(folder, 'spoilt');
    const bytes = readFileSync(path);
    const at = bytes.length - 16 - 1 - 5; // in front of the tag and the record's type
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(spoilt, bytes);
    expect(await statusOf('play', spoilt, ...hunt.words)).toBe(NEVER);
    bytes[0] = LENIENT;
    writeFileSync(spoilt, bytes);
    expect(await statusOf('play', spoilt, ...hunt.words)).toBe(DONE);
  });
});
