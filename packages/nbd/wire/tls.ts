/** TLS under NBD: a connection in the clear becomes a secured one after STARTTLS, on both sides. */
import {
  connect,
  createSecureContext,
  createServer,
  type PeerCertificate,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls';
import type { Duplex } from 'node:stream';
import { failure } from '@nodeos/block';
import { lost } from './errors.js';
import { Inbox } from './inbox.js';
import { ProtocolError } from './protocol.js';
import { inWords } from './tls-errors.js';

/** A shared secret by the user's name. */
export interface PskKeys {
  find(identity: string): Uint8Array | undefined;
}

export interface ServerTls extends Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'crl'> {
  /** Nothing but STARTTLS is answered in the clear. Otherwise exports with `tls` need it. */
  readonly required?: boolean;
  /** Clients must have a certificate of `ca`. */
  readonly verifyClient?: boolean;
  /** Instead of certificates: there may be none then, or who has no key would get in by them. */
  readonly psk?: PskKeys;
}

export interface ClientTls extends Pick<SecureContextOptions, 'cert' | 'key' | 'ca'> {
  /** The name that must be in the server's certificate; default: the host that was connected to. */
  readonly serverName?: string;
  /** Accept a server's certificate whoever signed it. */
  readonly insecure?: boolean;
  readonly psk?: { readonly identity: string; readonly key: Uint8Array };
}

export interface Secured {
  readonly inbox: Inbox;
  readonly socket: Duplex;
  readonly identity?: string;
}

/** OpenSSL's own names: with a PSK there are no certificates, so the key exchange must not want one. */
const PSK_CIPHERS =
  'TLS_AES_128_GCM_SHA256:ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256:DHE-PSK-AES128-GCM-SHA256:PSK';

const MIN_VERSION = 'TLSv1.2';

/** @throws TypeError for shared keys together with certificates */
export function checkServerTls(tls: ServerTls): void {
  const { psk, verifyClient } = tls;
  const others = [...Object.keys(materialOf(tls)), ...(verifyClient ? ['verifyClient'] : [])];
  if (psk && others.length > 0) throw new TypeError(`tls: psk together with ${others.join(', ')}: one of the two`);
}

/** @throws Error if the handshake fails; ProtocolError if something followed STARTTLS in the clear */
export async function serverTls(inbox: Inbox, socket: Duplex, tls: ServerTls): Promise<Secured> {
  const { psk, verifyClient = false } = tls;
  let identity: string | undefined;
  let isKnown = false;
  // Clients' certificates are judged by a server only; this one never listens.
  const server = createServer({
    ...materialOf(tls),
    minVersion: MIN_VERSION,
    requestCert: verifyClient,
    rejectUnauthorized: verifyClient,
    ...(psk && {
      ciphers: PSK_CIPHERS,
      pskCallback: (_socket: TLSSocket, name: string) => {
        identity = name;
        const key = psk.find(name);
        isKnown = key !== undefined;
        return key ?? null;
      },
    }),
  });
  const secured = await new Promise<TLSSocket>((resolve, reject) => {
    server.once('secureConnection', resolve);
    server.once('tlsClientError', (error, { authorizationError }) =>
      // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- it is not there before it was judged
      reject(authorizationError ? refused(String(authorizationError)) : whyNot(error, psk && !isKnown, identity)),
    );
    const insecure = handOver(inbox, socket);
    // Who ends in the middle of the handshake has nothing more to hear.
    insecure.allowHalfOpen = false;
    server.emit('connection', insecure);
  });
  secured.allowHalfOpen = true;
  const certificate = secured.getPeerCertificate() as Partial<PeerCertificate> | undefined;
  const name = identity ?? [certificate?.subject?.CN].flat()[0];
  return { ...received(secured), ...(name === undefined ? {} : { identity: name }) };
}

/** @param host of the connection, for the certificate */
export async function clientTls(inbox: Inbox, socket: Duplex, tls: ClientTls, host: string): Promise<Secured> {
  const { psk } = tls;
  const secured = connect({
    socket: handOver(inbox, socket),
    servername: /^[\d.]+$|:/.test(host) ? '' : (tls.serverName ?? host),
    host: tls.serverName ?? host,
    rejectUnauthorized: !tls.insecure,
    secureContext: createSecureContext({
      minVersion: MIN_VERSION,
      ...(psk && { ciphers: PSK_CIPHERS }),
      ...materialOf(tls),
    }),
    ...(psk && {
      ciphers: PSK_CIPHERS,
      // Who shows a certificate does not know the key.
      checkServerIdentity: (_host: string, certificate: Partial<PeerCertificate>) =>
        certificate.raw ? failure('EACCES', 'the server has a certificate instead of the key') : undefined,
      pskCallback: () => ({ identity: psk.identity, psk: psk.key }),
    }),
  });
  await established(secured);
  return received(secured);
}

/** Certificates and keys, without what is for the handshake. */
function materialOf(tls: ServerTls | ClientTls): SecureContextOptions {
  const names = new Set(['cert', 'key', 'ca', 'crl']);
  return Object.fromEntries(Object.entries(tls).filter(([name, value]) => names.has(name) && value !== undefined));
}

/** @param isUnknown the client had to have a key, and has none that is known here */
function whyNot(error: Error, isUnknown: boolean | undefined, identity: string | undefined): Error {
  if (error.message === 'socket hang up')
    return lost('the client ended the connection during the TLS handshake', error);
  if (!isUnknown || (error as NodeJS.ErrnoException).code !== NO_KEY) return inWords(error);
  const who = identity === undefined ? 'the client shows none' : `nobody is called ${JSON.stringify(identity)}`;
  return failure(NO_KEY, `TLS: a shared key is needed, and ${who}`, error);
}

/** With shared keys there is no certificate to sign with: OpenSSL finds that out when there is no key. */
const NO_KEY = 'ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM';

/** @param code what OpenSSL calls it */
const refused = (code: string): Error => failure(code, `the client's certificate is not accepted: ${code}`);

/** What an attacker may have put behind STARTTLS must not be taken for something said under TLS. */
function handOver(inbox: Inbox, socket: Duplex): Duplex {
  if (inbox.detach() > 0) throw new ProtocolError('bytes in the clear after STARTTLS');
  return socket;
}

function established(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve);
    // Stays: an error may be followed by another one, which nobody else listens to.
    socket.on('error', (error: Error) => reject(inWords(error)));
    socket.once('close', () => reject(lost('the connection ended during the TLS handshake')));
  });
}

function received(socket: TLSSocket): Secured {
  const inbox = new Inbox();
  inbox.attach(socket);
  return { inbox, socket };
}
