/** The programs of the target. */
export * from './attach.js';
export * from './init.js';
export * from './tls.js';
