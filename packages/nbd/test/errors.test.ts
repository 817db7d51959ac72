/** Errors have a code for callers, a name, and a message for people without OpenSSL's source lines. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory } from '@nodeos/block';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  connectNbd,
  Handshake,
  parsePskFile,
  parseUri,
  RefusedError,
  type ClientTls,
  type ServerTls,
} from '../index.js';
import { authority } from './pki.js';
import { MIB, singleExport, serve, tempDir, until } from './support.js';
import { HELLO, Wire } from './wire.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-nbd-errors-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const pem = (name: string): Buffer => readFileSync(join(root, name));
const key = Buffer.alloc(32, 7);

beforeAll(() => {
  authority(join(root, 'ca'), 'ca').sign(join(root, 'server'), 'server', 'localhost');
  authority(join(root, 'other'), 'stranger').sign(join(root, 'other'), 'client', 'eve');
});

const withCertificates = (): ServerTls => ({
  verifyClient: true,
  cert: pem('server/server-cert.pem'),
  key: pem('server/server-key.pem'),
  ca: pem('server/ca-cert.pem'),
});
const withKeys = (found: Buffer | undefined): ServerTls => ({ psk: { find: () => found } });

interface Told {
  readonly code?: string;
  readonly message: string;
}

async function refusedBy(tls: ServerTls, come: (path: string) => Promise<unknown>): Promise<Told> {
  const { path, events } = await serve(singleExport(memory(MIB)), { tls });
  await come(path).catch(() => undefined);
  await until(() => events.some(({ event }) => event === 'refused'));
  return events.find(({ event }) => event === 'refused')?.error as Told;
}

const client = (tls: ClientTls) => (path: string) =>
  connectNbd(`nbds+unix:///?socket=${path}`, { reconnectTimeout: 0, tls }).then((disk) =>
    disk.read(Buffer.alloc(1), 0),
  );

const bytes = (content: string) => async (path: string) => {
  const wire = await Wire.greeted(path);
  await wire.finalReply(5);
  wire.send(Buffer.from(content));
  await wire.ended;
};

describe('the log of a server has plain messages', () => {
  const eve = (): ClientTls => ({
    insecure: true,
    cert: pem('other/client-cert.pem'),
    key: pem('other/client-key.pem'),
  });
  const cases: [string, () => ServerTls, (path: string) => Promise<unknown>, string, RegExp][] = [
    ['no certificate', withCertificates, client({ insecure: true }), 'PEER_DID_NOT_RETURN_A_CERTIFICATE', /shown no certificate/],
    ['garbage', withCertificates, bytes('something that is no record'), 'WRONG_VERSION_NUMBER', /not TLS/],
    ['a web browser', withCertificates, bytes('GET / HTTP/1.1\r\n\r\n'), 'HTTP_REQUEST', /HTTP/],
    ['another key', () => withKeys(Buffer.alloc(32, 8)), client({ psk: { identity: 'a', key } }), 'BINDER_DOES_NOT_VERIFY', /keys .* differ/],
    ['a key of nobody', () => withKeys(undefined), client({ psk: { identity: 'bob', key } }), 'NO_SUITABLE_SIGNATURE_ALGORITHM', /nobody is called "bob"/],
    ['no key', () => withKeys(key), client({ insecure: true }), 'NO_SUITABLE_SIGNATURE_ALGORITHM', /the client shows none/],
  ]; // prettier-ignore
  it.each(cases)('for %s', async (_what, tls, come, code, words) => {
    const error = await refusedBy(tls(), come);
    expect(error).toMatchObject({ code: `ERR_SSL_${code}`, message: expect.stringMatching(words) });
    expect(error.message).not.toMatch(/error:0A|routines|\.c:/);
  });

  it('for a certificate signed by a stranger', async () => {
    const error = await refusedBy(withCertificates(), (path) => client(eve())(path));
    expect(error).toMatchObject({
      code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      message: expect.stringContaining('certificate'),
    });
  });

  it('for a client that has gone', async () => {
    const error = await refusedBy(withCertificates(), async (path) => (await Wire.greeted(path)).socket.destroy());
    expect(error).toMatchObject({ code: 'ECONNRESET', message: 'the peer closed the connection' });
  });
});

describe('a client gets an error with a code', () => {
  it('if the server requires something that it does not have', async () => {
    const { path } = await serve(singleExport(memory(MIB)), { tls: withCertificates() });
    await expect(client({ insecure: true })(path)).rejects.toMatchObject({
      message: expect.not.stringMatching(/error:0A|routines/) as string,
      cause: expect.anything() as unknown,
    });
  });

  it('if the server refuses it', async () => {
    const { uri } = await serve({ disk: { open: () => memory(MIB) } });
    const error: unknown = await connectNbd(uri('none'), { reconnectTimeout: 0 }).catch((failed: unknown) => failed);
    expect(error).toBeInstanceOf(RefusedError);
    expect(error).toMatchObject({ name: 'RefusedError', code: 'ENOENT' });
    const tls: unknown = await connectNbd(uri().replace('nbd+', 'nbds+'), { reconnectTimeout: 0 }).catch(
      (failed: unknown) => failed,
    );
    expect(tls).toMatchObject({ name: 'RefusedError', code: 'EPERM' });
  });

  it('if the server has gone or is not an NBD server', async () => {
    const at = async (said: Buffer): Promise<string> => {
      const path = join(tempDir(), 'socket');
      const server = createServer((socket) => socket.end(said)).listen(path);
      await new Promise((resolve) => server.once('listening', resolve));
      onTestFinished(() => void server.close());
      return `nbd+unix:///?socket=${path}`;
    };
    const open = async (said: Buffer): Promise<unknown> =>
      connectNbd(await at(said), { reconnectTimeout: 0 }).catch((failed: unknown) => failed);
    expect(await open(HELLO)).toMatchObject({ code: 'ECONNRESET' });
    expect(await open(Buffer.from('SSH-2.0-OpenSSH_9.2p1'))).toMatchObject({ code: 'EPROTO', name: 'ProtocolError' });
    const old = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), Buffer.alloc(2)]);
    expect(await open(old)).toMatchObject({ code: 'ECONNRESET', message: expect.stringContaining('the export ""') });
    const handshake = await Handshake.begin(parseUri(await at(old)), {});
    for (const asked of [handshake.list(), handshake.getInfo('x')])
      await expect(asked).rejects.toMatchObject({ code: 'ENOTSUP' });
  });

  it('if a PSK file has no key for it', () => {
    expect(() => parsePskFile('nonsense')).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});
