/** Container images: fetched from registries, layouts and archives, and merged into one tree. */
export * from './blob-cache.js';
export { copyImage, type CopyOptions } from './copy.js';
export { credentialsFor, type Credentials } from './credentials.js';
export { parseDigest, sha256Digest, WrongContentError, type Sized } from './digest.js';
export * from './image.js';
export { makeImage, type MakeOptions, type NewImage, type NewLayer } from './make.js';
export { Merge, type MergeLayer, type MergeRecord } from './merge.js';
export * from './model.js';
export { ImageFiles, type FindEntry } from './files.js';
export * from './process.js';
export { hostPlatform, parsePlatform, platformText } from './platform.js';
export * from './reference.js';
export * from './registry.js';
export { parseMirror, type Mirror } from './registry-source.js';
export type { ImageSource, OpenBlob } from './source.js';
