/** The users' layer. */
export * from './application.js';
export * from './build.js';
export * from './start-script.js';
