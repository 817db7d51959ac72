/** Explains OpenSSL's errors, whose own messages name lines of its sources. */
import { failure } from '@nodeos/block';

/** Messages by the code that Node.js derives from OpenSSL's reason. For other codes the reason itself is used. */
const MESSAGES: Readonly<Record<string, string>> = {
  ERR_SSL_WRONG_VERSION_NUMBER: 'the peer sent something that is not TLS',
  ERR_SSL_HTTP_REQUEST: 'the peer sent a request of HTTP',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the peer knows no TLS from 1.2 on',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'the peer does not take TLS from 1.2 on',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'the client has shown no certificate',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'the server wants a certificate of this client',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'the peer has refused the certificate of this side',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'the certificate of this side has expired',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'the peer does not know who has signed the certificate of this side',
  ERR_SSL_NO_SHARED_CIPHER: 'the two sides have no cipher in common',
  ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM:
    'the two sides have neither a shared key nor a kind of certificate in common',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: 'the peer refused: it wants another key, or another kind of certificate',
  ERR_SSL_BINDER_DOES_NOT_VERIFY: 'the shared keys of the two sides differ',
  ERR_SSL_SSLV3_ALERT_ILLEGAL_PARAMETER: 'the peer refused: the shared keys of the two sides may differ',
  ERR_SSL_UNEXPECTED_EOF_WHILE_READING: 'the peer ended the connection without a word',
};

/** OpenSSL's error with the same code and a plain message. Other errors are returned unchanged. */
export function translateTlsError(error: Error): Error {
  const { code, reason, library } = error as NodeJS.ErrnoException & { reason?: string; library?: string };
  if (code === undefined || library === undefined) return error;
  return failure(code, `TLS: ${MESSAGES[code] ?? reason ?? 'the handshake failed'}`, error);
}
