/** The kernel layer. */
export * from './kernel.js';
export * from './config.js';
export { LINUX, UNNEEDED_PATHS } from './sources.js';
