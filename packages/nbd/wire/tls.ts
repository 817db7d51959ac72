/** TLS for NBD: secures a plain connection after STARTTLS, on both sides. */
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
import { connectionLost } from './errors.js';
import { Inbox } from './inbox.js';
import { ProtocolError } from './protocol.js';
import { translateTlsError } from './tls-errors.js';

/** Shared keys by identity. */
export interface PskKeys {
  find(identity: string): Uint8Array | undefined;
}

export interface ServerTls extends Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'crl'> {
  /**
   * Answer nothing but STARTTLS and ABORT in the clear. If false, only exports with `tls` require TLS. Default false.
   */
  readonly required?: boolean;
  /** Clients must have a certificate signed by `ca`. Default false. */
  readonly verifyClient?: boolean;
  /**
   * Shared keys instead of certificates. Certificates must not be given too, because a client without a key could use
   * them.
   */
  readonly psk?: PskKeys;
}

export interface ClientTls extends Pick<SecureContextOptions, 'cert' | 'key' | 'ca'> {
  /** The name that the server's certificate must have. Default: the host that was connected to. */
  readonly serverName?: string;
  /** Accept any certificate of the server, whoever signed it. Default false. */
  readonly insecure?: boolean;
  readonly psk?: { readonly identity: string; readonly key: Uint8Array };
}

export interface Secured {
  readonly inbox: Inbox;
  readonly socket: Duplex;
  readonly identity?: string;
}

/** OpenSSL's cipher names. A PSK comes without certificates, so the key exchange must not require one. */
const PSK_CIPHERS =
  'TLS_AES_128_GCM_SHA256:ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256:DHE-PSK-AES128-GCM-SHA256:PSK';

const MIN_VERSION = 'TLSv1.2';

/** @throws TypeError if shared keys are combined with certificates */
export function checkServerTls(tls: ServerTls): void {
  const { psk, verifyClient } = tls;
  const conflicting = [...Object.keys(certificatesOf(tls)), ...(verifyClient ? ['verifyClient'] : [])];
  if (psk && conflicting.length > 0)
    throw new TypeError(`tls: psk together with ${conflicting.join(', ')}: one of the two`);
}

/** @throws Error if the handshake fails; ProtocolError if plain bytes followed STARTTLS */
export async function serverTls(inbox: Inbox, socket: Duplex, tls: ServerTls): Promise<Secured> {
  const { psk, verifyClient = false } = tls;
  let identity: string | undefined;
  let isKnown = false;
  // Only a TLS server verifies certificates of clients; this one never listens.
  const server = createServer({
    ...certificatesOf(tls),
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
      reject(authorizationError ? refused(String(authorizationError)) : tlsFailure(error, psk && !isKnown, identity)),
    );
    const insecure = takeSocket(inbox, socket);
    // A client that closes during the handshake needs no further reply.
    insecure.allowHalfOpen = false;
    server.emit('connection', insecure);
  });
  secured.allowHalfOpen = true;
  const certificate = secured.getPeerCertificate() as Partial<PeerCertificate> | undefined;
  const name = identity ?? [certificate?.subject?.CN].flat()[0];
  return { ...withInbox(secured), ...(name === undefined ? {} : { identity: name }) };
}

/** @param host of the connection, for checking the certificate */
export async function clientTls(inbox: Inbox, socket: Duplex, tls: ClientTls, host: string): Promise<Secured> {
  const { psk } = tls;
  const secured = connect({
    socket: takeSocket(inbox, socket),
    servername: /^[\d.]+$|:/.test(host) ? '' : (tls.serverName ?? host),
    host: tls.serverName ?? host,
    rejectUnauthorized: !tls.insecure,
    secureContext: createSecureContext({
      minVersion: MIN_VERSION,
      ...(psk && { ciphers: PSK_CIPHERS }),
      ...certificatesOf(tls),
    }),
    ...(psk && {
      ciphers: PSK_CIPHERS,
      // A server that presents a certificate does not know the key.
      checkServerIdentity: (_host: string, certificate: Partial<PeerCertificate>) =>
        certificate.raw ? failure('EACCES', 'the server has a certificate instead of the key') : undefined,
      pskCallback: () => ({ identity: psk.identity, psk: psk.key }),
    }),
  });
  await established(secured);
  return withInbox(secured);
}

/** Only the certificates and keys, without options for the handshake. */
function certificatesOf(tls: ServerTls | ClientTls): SecureContextOptions {
  const names = new Set(['cert', 'key', 'ca', 'crl']);
  return Object.fromEntries(Object.entries(tls).filter(([name, value]) => names.has(name) && value !== undefined));
}

/** @param isUnknown whether the client needed a key, and has none that is known here */
function tlsFailure(error: Error, isUnknown: boolean | undefined, identity: string | undefined): Error {
  if (error.message === 'socket hang up')
    return connectionLost('the client ended the connection during the TLS handshake', error);
  if (!isUnknown || (error as NodeJS.ErrnoException).code !== NO_KEY) return translateTlsError(error);
  const detail = identity === undefined ? 'the client shows none' : `nobody is called ${JSON.stringify(identity)}`;
  return failure(NO_KEY, `TLS: a shared key is needed, and ${detail}`, error);
}

/** With shared keys there is no certificate to sign with. OpenSSL reports this if there is no key either. */
const NO_KEY = 'ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM';

/** @param code OpenSSL's name of the error */
const refused = (code: string): Error => failure(code, `the client's certificate is not accepted: ${code}`);

/** An attacker may insert plain bytes after STARTTLS. They must not be treated as received over TLS. */
function takeSocket(inbox: Inbox, socket: Duplex): Duplex {
  if (inbox.detach() > 0) throw new ProtocolError('bytes in the clear after STARTTLS');
  return socket;
}

function established(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve);
    // This listener stays: a second error may follow, and nobody else listens for it.
    socket.on('error', (error: Error) => reject(translateTlsError(error)));
    socket.once('close', () => reject(connectionLost('the connection ended during the TLS handshake')));
  });
}

function withInbox(socket: TLSSocket): Secured {
  const inbox = new Inbox();
  inbox.attach(socket);
  return { inbox, socket };
}
