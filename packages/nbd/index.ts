export * from './exports.js';
export * from './metrics.js';
export * from './server.js';
export type { ClientTls, PskKeys, ServerTls } from './tls.js';
