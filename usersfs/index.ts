/** The users' layer. */
export * from './application.js';
export * from './build.js';
export * from './lock.js';
export * from './native.js';
export * from './start-script.js';
