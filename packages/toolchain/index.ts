/** Layer 0: the cross-toolchain. */
export * from './compiler.js';
export * from './environment.js';
export * from './toolchain.js';
