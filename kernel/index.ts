/** The kernel layer. */
export * from './kernel.js';
export * from './config.js';
export { LINUX } from './sources.js';
