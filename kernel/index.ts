/** The kernel layer. */
export * from './kernel.js';
export * from './config.js';
export * from './sources.js';
