/** The boot media layer. */
export * from './data.js';
export * from './loaders.js';
export * from './media.js';
export * from './uki.js';
