/** Filesystem formats. */
export * from './erofs.js';
export type * from './image.js';
