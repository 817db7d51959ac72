/** Layer 0: the cross-toolchain. */
export * from './environment.js';
export * from './toolchain.js';
