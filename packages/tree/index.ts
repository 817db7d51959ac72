/** Files as a stream of entries. */
/// <reference path="./cpio-stream.d.ts" />
export * from './cpio.js';
export * from './directory.js';
export * from './entry.js';
