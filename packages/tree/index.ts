/** Files as a stream of entries. */
export * from './cpio.js';
export * from './directory.js';
export * from './entry.js';
export * from './names.js';
export * from './tar.js';
