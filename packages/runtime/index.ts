/** Node.js for the target: the binary and the libraries that it needs. */
export * from './allocator.js';
export * from './build.js';
export * from './elf.js';
export * from './image.js';
export * from './musl.js';
export * from './sources.js';
