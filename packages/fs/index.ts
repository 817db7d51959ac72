/** Filesystem formats. */
export * from './erofs.js';
