export { connectNbd, type ClientEvent, type ClientOptions, type NbdBackend } from './client/client.js';
export { Handshake, RefusedError, type ExportInfo, type MakeStream, type Features } from './client/client-handshake.js';
export * from './server/exports.js';
export * from './server/metrics.js';
export { FLAG, namesOf, ProtocolError } from './wire/protocol.js';
export { NbdError } from './wire/reply-errors.js';
export * from './server/server.js';
export type { ClientTls, PskKeys, ServerTls } from './wire/tls.js';
export { formatUri, isNbdUri, parsePskFile, parseUri, tlsOf, type NbdUri } from './wire/uri.js';
