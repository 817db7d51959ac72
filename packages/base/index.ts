/** Helpers that every package may use: errors, atomic file replacement, byte counts, escaping of foreign text. */
export * from './bytes.js';
export * from './cache-root.js';
export * from './closing.js';
export * from './collected.js';
export * from './errors.js';
export * from './exists.js';
export * from './groups.js';
export * from './line-tail.js';
export * from './mountinfo.js';
export * from './parent-death.js';
export * from './replace-file.js';
export * from './sha256.js';
export * from './sync-directory.js';
export * from './temporary-folder.js';
export * from './visible.js';
