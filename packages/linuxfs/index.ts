/** The files of any Linux filesystem, with the interface of `node:fs`, without root and without mounting. */
export * from './open.js';
export { MountedFilesystem, type RemountOptions } from './mounted.js';
export { FsPromises } from './promises.js';
export { FileHandle } from './file-handle.js';
export { Directory } from './directory.js';
export type { FsError } from './errors.js';
export { probe, TYPES, type Probed } from './probe.js';
export type { Target, Volume } from './volume.js';
export type { FromTreeOptions, ToTreeOptions } from './trees.js';
export { findKernel, kindOf, type Kind } from './binary.js';
