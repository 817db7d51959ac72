/** The engine: the only code that caches outputs and runs build tools. */
export * from './artifact.js';
export { checkCacheFolder, type Skipped } from './cache-folder.js';
export * from './cache.js';
export * from './engine.js';
export * from './fetch.js';
export * from './hash.js';
export * from './lock.js';
export { privateApt, type Apt, type Archive } from './places/debian.js';
export * from './plan.js';
export * from './progress.js';
export * from './terminal-progress.js';
export * from './prune.js';
export * from './run.js';
export * from './source.js';
export * from './step.js';
export * from './unpack.js';
