/** Files as a stream of entries. */
export * from './cpio.js';
export * from './directory.js';
export { decompressed } from './decompress.js';
export * from './entry.js';
export * from './names.js';
export * from './tar.js';
export { readTar, type TarOptions, type TarRecord } from './tar-reader.js';
export type { TarPart } from './tar-sparse.js';
