/** A machine's root over the network: the server, and the credentials that admit the machine. */
export * from './admit.js';
export { serveRoot, type StreamedRoot, type StreamedRootOptions, type RootImage } from './serve.js';
export { openUpper } from './upper.js';
