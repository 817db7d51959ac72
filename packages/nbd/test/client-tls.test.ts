/** The client over TLS, against nbdkit (GnuTLS) and our own server. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory } from '@nodeos/block';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { connectNbd, NbdServer, parsePskFile, type ServerTls } from '../index.js';
import { started } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'nodeos-nbd-tls-'));
const [server, client, other] = ['server', 'client', 'other'].map((name) => join(folder, name)) as [
  string,
  string,
  string,
];
const pskFile = join(folder, 'keys.psk');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A certificate authority in a folder, as libnbd and nbdkit name the files. */
beforeAll(() => {
  for (const path of [server, client, other]) mkdirSync(path);
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const authority = (name: string): void =>
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
    );
  const signed = (name: string, out: string, extension: string): void => {
    openssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      `${out}-key.pem`,
      '-out',
      'request.pem',
    );
    writeFileSync(join(folder, 'extensions'), extension);
    openssl(
      'x509',
      '-req',
      '-in',
      'request.pem',
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      'extensions',
      '-out',
      `${out}-cert.pem`,
    );
  };
  authority('ca');
  authority('stranger');
  signed('localhost', 'server/server', 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n');
  signed('alice', 'client/client', 'extendedKeyUsage=clientAuth\n');
  for (const path of [server, client]) writeFileSync(join(path, 'ca-cert.pem'), readFileSync(join(folder, 'ca.pem')));
  writeFileSync(join(other, 'ca-cert.pem'), readFileSync(join(folder, 'stranger.pem')));
  writeFileSync(pskFile, `alice:${'ab'.repeat(32)}\n`);
});

let count = 0;

async function nbdkit(...args: string[]): Promise<string> {
  const socket = join(folder, `${count++}.sock`);
  await started(socket, 'nbdkit', '-f', '-U', socket, ...args, 'memory', '1M');
  return socket;
}

async function ours(tls: ServerTls): Promise<string> {
  const socket = join(folder, `${count++}.sock`);
  const nbd = new NbdServer({ tls, exports: { '': { open: () => memory(1 << 20) } } });
  await nbd.listen({ path: socket });
  onTestFinished(() => nbd.close(0));
  return socket;
}

const certified = (): ServerTls => ({
  required: true,
  verifyClient: true,
  cert: readFileSync(join(server, 'server-cert.pem')),
  key: readFileSync(join(server, 'server-key.pem')),
  ca: readFileSync(join(folder, 'ca.pem')),
});
const keys = parsePskFile(`alice:${'ab'.repeat(32)}`);

/** Writes and reads a good deal, so that records of TLS are split anyhow. */
async function works(uri: string): Promise<void> {
  const disk = await connectNbd(uri, { patience: 0 });
  expect(disk.tls).toBe(true);
  const bytes = Buffer.from(Uint8Array.from({ length: 700_001 }, (_, index) => index * 7 + (index >> 8)));
  await disk.write?.(bytes, 12345);
  const read = Buffer.alloc(bytes.length);
  await disk.read(read, 12345);
  expect(read.equals(bytes)).toBe(true);
  await disk.close();
}

describe.each([
  [
    'nbdkit',
    () => nbdkit('--tls=require', `--tls-certificates=${server}`, '--tls-verify-peer'),
    () => nbdkit('--tls=require', `--tls-psk=${pskFile}`),
  ],
  ['our server', () => ours(certified()), () => ours({ required: true, psk: { find: (name) => keys.get(name) } })],
] as const)('%s', (_name, withCertificates, withKeys) => {
  it('with certificates on both sides', async () => {
    await works(`nbds+unix:///?socket=${await withCertificates()}&tls-certificates=${client}`);
  });

  it('whose certificate is of a stranger', async () => {
    const uri = `nbds+unix:///?socket=${await withCertificates()}&tls-certificates=${other}`;
    await expect(connectNbd(uri, { patience: 0 })).rejects.toThrow(/certificate/);
  });

  it('that wants a certificate of the client', async () => {
    const uri = `nbds+unix:///?socket=${await withCertificates()}&tls-verify-peer=false`;
    await expect(connectNbd(uri, { patience: 0 })).rejects.toThrow();
  });

  it('with a key that both know', async () => {
    await works(`nbds+unix://alice@/?socket=${await withKeys()}&tls-psk-file=${pskFile}`);
  });

  it('that wants TLS', async () => {
    const socket = await withCertificates();
    await expect(connectNbd(`nbd+unix:///?socket=${socket}`, { patience: 0 })).rejects.toThrow(/ERR_TLS_REQD/);
  });
});

it('a server without TLS', async () => {
  const socket = await nbdkit();
  await expect(connectNbd(`nbds+unix:///?socket=${socket}`, { patience: 0 })).rejects.toThrow(/STARTTLS was refused/);
});
