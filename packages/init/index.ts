/** The programs of the target. */
export * from './attach.js';
export * from './build.js';
export * from './tls.js';
