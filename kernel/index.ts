/** The kernel layer. */
export * from './build.js';
export * from './config.js';
export * from './sources.js';
