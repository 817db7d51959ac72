/** The client over TLS, against nbdkit (GnuTLS) and our own server. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory } from '@nodeos/block';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { connectNbd, NbdServer, parsePskFile, type ServerTls } from '../index.js';
import { authority } from './pki.js';
import { startServer } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'nodeos-nbd-tls-'));
const [server, client, other] = ['server', 'client', 'other'].map((name) => join(folder, name)) as [
  string,
  string,
  string,
];
const pskFile = join(folder, 'keys.psk');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(() => {
  const ours = authority(join(folder, 'ca'), 'ca', 'rsa');
  ours.sign(server, 'server', 'localhost');
  ours.sign(client, 'client', 'alice');
  authority(other, 'stranger', 'rsa');
  writeFileSync(pskFile, `alice:${'ab'.repeat(32)}\n`);
});

let count = 0;

async function nbdkit(...args: string[]): Promise<string> {
  const socket = join(folder, `${count++}.sock`);
  await startServer(socket, 'nbdkit', '-f', '-U', socket, ...args, 'memory', '1M');
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
  ca: readFileSync(join(server, 'ca-cert.pem')),
});
const keys = parsePskFile(`alice:${'ab'.repeat(32)}`);

/** Writes and reads enough to split TLS records at any place. */
async function works(uri: string): Promise<void> {
  const disk = await connectNbd(uri, { reconnectTimeout: 0 });
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
] as const)('the client over TLS with %s', (_name, withCertificates, withKeys) => {
  it('works with certificates on both sides', async () => {
    await works(`nbds+unix:///?socket=${await withCertificates()}&tls-certificates=${client}`);
  });

  it('refuses a server whose certificate is signed by a stranger', async () => {
    const uri = `nbds+unix:///?socket=${await withCertificates()}&tls-certificates=${other}`;
    await expect(connectNbd(uri, { reconnectTimeout: 0 })).rejects.toThrow(/certificate/);
  });

  it('reports that the server requires a client certificate', async () => {
    const uri = `nbds+unix:///?socket=${await withCertificates()}&tls-verify-peer=false`;
    // With TLS 1.3 the client learns this after its handshake seems complete: from an alert, or from a closed
    // connection.
    await expect(connectNbd(uri, { reconnectTimeout: 0 })).rejects.toThrow(
      /wants a certificate|alert|ECONNRESET|EPIPE|closed the connection/,
    );
  });

  it('works with a shared key', async () => {
    await works(`nbds+unix://alice@/?socket=${await withKeys()}&tls-psk-file=${pskFile}`);
  });

  it('refuses a server whose certificate has another name', async () => {
    const uri = `nbds+unix:///?socket=${await withCertificates()}&tls-certificates=${client}`;
    await expect(connectNbd(`${uri}&tls-hostname=example.org`, { reconnectTimeout: 0 })).rejects.toThrow(
      /example\.org/,
    );
    await works(`${uri}&tls-hostname=localhost`);
  });

  it('reports that the server requires TLS', async () => {
    const socket = await withCertificates();
    await expect(connectNbd(`nbd+unix:///?socket=${socket}`, { reconnectTimeout: 0 })).rejects.toThrow(/ERR_TLS_REQD/);
  });
});

it('the client reports a server without TLS', async () => {
  const socket = await nbdkit();
  await expect(connectNbd(`nbds+unix:///?socket=${socket}`, { reconnectTimeout: 0 })).rejects.toThrow(
    /STARTTLS was refused/,
  );
});

it.each([
  ['nobody vouches for', {}],
  ['is signed by whom the client trusts', { ca: () => readFileSync(join(server, 'ca-cert.pem')) }],
])('the client refuses a server without the key whose certificate %s', async (_what, { ca }: { ca?: () => Buffer }) => {
  const { cert, key } = certified();
  const psk = { identity: 'alice', key: keys.get('alice') ?? Buffer.alloc(0) };
  const uri = `nbds+unix:///?socket=${await ours({ cert, key })}`;
  const tls = { psk, ...(ca && { ca: ca() }) };
  await expect(connectNbd(uri, { reconnectTimeout: 0, tls })).rejects.toThrow(/certificate|handshake|alert/);
});
