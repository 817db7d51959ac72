/** What runs on the target. */
export * from './build.js';
export * from './tls.js';
