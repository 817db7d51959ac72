/** Node.js for the target: the binary and the libraries that it needs. */
export * from './allocator.js';
export * from './elf.js';
export * from './glibc.js';
export * from './image.js';
export * from './musl.js';
export * from './part.js';
export * from './release.js';
export * from './runtime.js';
export * from './sources.js';
