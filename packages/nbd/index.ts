export { connectNbd, type ClientEvent, type ClientOptions, type NbdBackend } from './client.js';
export { Handshake, RefusedError, type ExportInfo, type MakeStream, type Wishes } from './client-handshake.js';
export * from './exports.js';
export * from './metrics.js';
export { FLAG, namesOf, ProtocolError } from './protocol.js';
export { NbdError } from './reply-errors.js';
export * from './server.js';
export type { ClientTls, PskKeys, ServerTls } from './tls.js';
export { isNbdUri, parsePskFile, parseUri, tlsOf, type NbdUri } from './uri.js';
