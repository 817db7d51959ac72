/** TLS after STARTTLS, with GnuTLS (libnbd) as the peer, and with clients that cheat. */
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions } from 'node:tls';
import { memory } from '@nodeos/block';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Peer } from '../server/exports.js';
import { NbdServer } from '../server/server.js';
import type { ServerTls } from '../wire/tls.js';
import { authority } from './pki.js';
import {
  MIB,
  nbdshApart,
  requirePrograms,
  singleExport,
  output,
  pattern,
  run,
  serve,
  until,
  type Served,
} from './support.js';
import { ACK, hex, refusal, request, text, u16, u32, Wire } from './wire.js';

const POLICY = refusal(2);
const INVALID = refusal(3);
const TLS_REQD = refusal(5);
const EINVAL = 22;

const root = mkdtempSync(join(tmpdir(), 'nodeos-nbd-tls-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const file = (name: string): string => join(root, name);
const pem = (name: string): Buffer => readFileSync(file(name));

const SECRET = '0123456789abcdef0123456789abcdef';

beforeAll(() => {
  requirePrograms('openssl', 'nbdsh', 'nbdinfo');
  const ours = authority(file('pki'), 'ca');
  ours.sign(file('pki'), 'server', 'localhost');
  ours.sign(file('pki'), 'client', 'alice');
  ours.sign(file('nobody'), 'server', 'localhost'); // a folder without a client certificate
  authority(file('stranger'), 'stranger').sign(file('foreign'), 'client', 'mallory');
  copyFileSync(ours.path, file('foreign/ca-cert.pem')); // makes the server refuse, not the client
  writeFileSync(file('keys.psk'), `alice:${SECRET}\n`);
  writeFileSync(file('wrong.psk'), `alice:${SECRET.replace('0', 'f')}\n`);
  for (const keys of ['keys.psk', 'wrong.psk']) chmodSync(file(keys), 0o600);
});

const materials = (): ServerTls => ({
  cert: pem('pki/server-cert.pem'),
  key: pem('pki/server-key.pem'),
  ca: pem('pki/ca-cert.pem'),
});
const psk = { find: (name: string) => (name === 'alice' ? Buffer.from(SECRET, 'hex') : undefined) };

interface Secure extends Served {
  readonly port: number;
  readonly peers: Peer[];
}

/** A server with one plain export and one that requires TLS. It records the peers. */
async function secure(tls: ServerTls): Promise<Secure> {
  const peers: Peer[] = [];
  const backend = memory(4 * MIB);
  const exports = {
    find(name: string, peer: Peer) {
      peers.push(peer);
      return name === '' || name === 'secret' ? { open: () => backend, tls: name === 'secret' } : undefined;
    },
    list: () => [{ name: '' }, { name: 'secret' }],
  };
  const served = await serve(exports, { tls });
  return { ...served, peers, port: Number(new URL(await served.server.listen({ port: 0 })).port) };
}

/** Connects with libnbd after running the lines in `before`, then reads and writes. @returns the output */
const visit = (port: number, before: string): Promise<string> =>
  nbdshApart(`
h.set_tls(nbd.TLS_REQUIRE)
${before}
try:
    h.connect_tcp("127.0.0.1", "${port}")
    data = bytes(range(256)) * 4096
    h.pwrite(data, 5)
    print(h.get_tls_negotiated(), h.get_structured_replies_negotiated(), bytes(h.pread(len(data), 5)) == data)
    h.shutdown()
except nbd.Error as error:
    print("refused")`);

const certificates = (folder: string): string =>
  `h.set_tls_certificates("${file(folder)}")\nh.set_tls_verify_peer(True)`;

describe('certificates', () => {
  it('secure a connection', async () => {
    const { port, peers } = await secure({ ...materials(), required: true });
    expect(await visit(port, certificates('nobody'))).toBe('True True True\n');
    expect(peers.at(-1)).toEqual({ connection: 1, address: expect.stringMatching(/^127\.0\.0\.1:\d+$/), tls: true });
  });

  it('of clients can be required, and name them', async () => {
    const { port, peers, events } = await secure({ ...materials(), required: true, verifyClient: true });
    expect(await visit(port, certificates('pki'))).toBe('True True True\n');
    expect(peers.at(-1)).toMatchObject({ tls: true, identity: 'alice' });
    expect(await visit(port, certificates('nobody'))).toBe('refused\n');
    expect(await visit(port, certificates('foreign'))).toBe('refused\n');
    await until(() => events.filter(({ event }) => event === 'refused').length === 2);
    expect(peers.filter(({ identity }) => identity !== 'alice')).toEqual([]);
  });

  it('of a stranger are refused by a server that verifies clients', async () => {
    const { port, events, server } = await secure({ ...materials(), required: true, verifyClient: true });
    const [cert, key] = [pem('foreign/client-cert.pem'), pem('foreign/client-key.pem')];
    const wire = await upgraded(port, { cert, key, rejectUnauthorized: false }).catch(() => undefined);
    wire?.option(3);
    await wire?.ended;
    await until(() => server.metrics.connections.open === 0);
    expect(events.map(({ event, error }) => [event, String(error)])).toEqual([
      ['refused', expect.stringMatching(/certificate|verify/)],
    ]);
  });

  it('secure large transfers in both directions', async () => {
    const backend = memory(16 * MIB);
    const { server } = await serve(singleExport(backend), { tls: { ...materials(), required: true } });
    const { port } = new URL(await server.listen({ port: 0 }));
    writeFileSync(file('much'), pattern(16 * MIB));
    const uri = `nbds://127.0.0.1:${port}/?tls-certificates=${file('pki')}`;
    await output('nbdcopy', '--connections=2', file('much'), uri);
    await output('nbdcopy', '--connections=2', uri, file('again'));
    expect(readFileSync(file('again')).equals(readFileSync(file('much')))).toBe(true);
  });
});

describe('shared keys', () => {
  it('secure a connection, and name the client', async () => {
    const { port, peers, events } = await secure({ psk, required: true });
    const keys = (name: string, user: string): string =>
      `h.set_tls_psk_file("${file(name)}")\nh.set_tls_username("${user}")`;
    expect(await visit(port, keys('keys.psk', 'alice'))).toBe('True True True\n');
    expect(peers.at(-1)).toMatchObject({ tls: true, identity: 'alice' });
    expect(await visit(port, keys('wrong.psk', 'alice'))).toBe('refused\n');
    expect(await visit(port, keys('keys.psk', 'bob'))).toBe('refused\n');
    await until(() => events.some(({ event }) => event === 'refused'));
    const uri = `nbds://alice@127.0.0.1:${port}/secret?tls-psk-file=${file('keys.psk')}`;
    expect(await output('nbdinfo', uri)).toContain('newstyle-fixed with TLS');
  });
});

describe('a server', () => {
  it('has either certificates or shared keys, because clients without a key could use the certificates', () => {
    const exports = {};
    for (const more of [{ cert: pem('pki/server-cert.pem') }, { ca: pem('pki/ca-cert.pem') }, { verifyClient: true }])
      expect(() => new NbdServer({ exports, tls: { psk, ...more } })).toThrow(TypeError);
    expect(() => new NbdServer({ exports, tls: { psk, verifyClient: false, required: true } })).not.toThrow();
  });

  it('does not wait for a silent client in the TLS handshake when it shuts down', async () => {
    const { port, server, events } = await secure(materials());
    const wire = await Wire.greeted(port);
    expect(await wire.finalReply(5)).toBe(ACK);
    const started = performance.now();
    await server.close(30);
    expect(performance.now() - started).toBeLessThan(20_000);
    expect(events.at(-1)).toMatchObject({ event: 'refused', error: { message: 'the server is being shut down' } });
  });

  it('reports that it has no TLS', async () => {
    const { path, uri } = await serve(singleExport(memory(MIB)));
    const wire = await Wire.greeted(path);
    expect(await wire.finalReply(5)).toBe(POLICY);
    expect(await wire.openExport()).not.toBe(0);
    expect((await run('nbdinfo', uri().replace('nbd+', 'nbds+'))).status).toBe(1);
  });

  it('that requires TLS answers nothing before', async () => {
    const { path, server } = await secure({ psk, required: true });
    const wire = await Wire.greeted(path);
    for (const option of [3, 6, 7, 8, 9, 10, 11, 99]) expect(await wire.finalReply(option)).toBe(TLS_REQD);
    expect(await wire.finalReply(5, hex('00'))).toBe(INVALID);
    expect(await wire.finalReply(2)).toBe(ACK);
    const other = await Wire.greeted(path);
    other.option(1);
    expect(await other.readToEnd()).toEqual(Buffer.alloc(0));
    expect(server.openExports).toEqual([]);
  });

  it('that offers TLS requires it for some exports', async () => {
    const { path, port } = await secure(materials());
    const wire = await Wire.greeted(path);
    for (const option of [6, 7]) expect(await wire.finalReply(option, text('secret'), u16(0))).toBe(TLS_REQD);
    await wire.sendOption(8);
    expect(await wire.finalReply(10, text('secret'), u32(0))).toBe(TLS_REQD);
    expect(await wire.openExport()).not.toBe(0);
    const other = await Wire.greeted(path);
    other.option(1, Buffer.from('secret'));
    expect(await other.readToEnd()).toEqual(Buffer.alloc(0));
    const secured = await upgraded(port, { rejectUnauthorized: false });
    expect(await secured.finalReply(5)).toBe(INVALID);
    expect(await secured.openExport('secret')).not.toBe(0);
  });
});

/** A connection after STARTTLS, with these options sent before it. */
async function upgraded(port: number, options: ConnectionOptions, ...before: [number, Buffer][]): Promise<Wire> {
  const wire = await Wire.greeted(port);
  for (const [option, data] of before) expect(await wire.finalReply(option, data)).toBe(ACK);
  expect(await wire.finalReply(5)).toBe(ACK);
  wire.socket.removeAllListeners('data');
  const socket = connect({ socket: wire.socket, ...options });
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  return new Wire(socket);
}

describe('an attacker', () => {
  it('cannot insert bytes after STARTTLS', async () => {
    const { port, events, peers } = await secure(materials());
    const injected = Buffer.concat([hex('49484156454f5054 00000007 00000006'), text(''), u16(0)]);
    const wire = await Wire.greeted(port);
    wire.send(hex('49484156454f5054 00000005 00000000'), injected);
    const acknowledged = hex('0003e889045565a9 00000005 00000001 00000000');
    expect((await wire.readToEnd()).subarray(0, 20)).toEqual(acknowledged);
    // If they arrive slightly later, the TLS handshake fails on them.
    const late = await Wire.greeted(port);
    expect(await late.finalReply(5)).toBe(ACK);
    late.send(injected);
    await late.ended;
    await until(() => events.filter(({ event }) => event === 'refused').length === 2);
    expect(peers).toEqual([]);
  });

  it('cannot set options for the client before STARTTLS', async () => {
    const { port } = await secure(materials());
    const contexts = Buffer.concat([text(''), u32(1), text('base:allocation')]);
    const options = { rejectUnauthorized: false };
    const structured = await upgraded(port, options, [8, Buffer.alloc(0)], [10, contexts]);
    expect((await structured.openExport()) & (1 << 7)).toBe(0);
    structured.send(request({ type: 7, length: 1 }), request({ type: 0, cookie: 2, length: 1 }));
    expect([await structured.simple(), await structured.simple(2), await structured.read(1)]).toEqual([
      ...[EINVAL, 0, hex('00')],
    ]);
    const extended = await upgraded(port, options, [11, Buffer.alloc(0)]);
    expect(await extended.finalReply(8)).toBe(ACK);
    await extended.openExport();
    extended.send(request({ type: 7, length: 1 }));
    expect((await extended.chunk()).data.readUInt32BE(0)).toBe(EINVAL);
  });

  it('does no harm by breaking off in the middle of the handshake', async () => {
    const { port, server } = await secure(materials());
    for (const bytes of [Buffer.alloc(0), hex('160301'), hex('16030100c8010000c40303'), Buffer.alloc(5000, 0x16)]) {
      for (const end of ['end', 'destroy', 'resetAndDestroy'] as const) {
        const wire = await Wire.greeted(port);
        expect(await wire.finalReply(5)).toBe(ACK);
        wire.send(bytes);
        await new Promise(setImmediate);
        (wire.socket as unknown as Record<typeof end, () => void>)[end]();
      }
    }
    await until(() => server.metrics.connections.open === 0);
    expect(await visit(port, certificates('nobody'))).toBe('True True True\n');
  });
});
