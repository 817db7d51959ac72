/** Filesystem formats. */
export * from './erofs.js';
export { GROUP_SLOT, pathGroups } from './erofs-groups.js';
export * from './erofs-reader.js';
export { fat, fatSizeFor, type FatImage, type FatOptions, type FatSizeOptions } from './fat.js';
export type { FatBits } from './fat-layout.js';
export { readFat } from './fat-reader.js';
export * from './gpt.js';
export { guidOf } from './guid.js';
export type { Image, ImageReader, Place } from './image.js';
export * from './iso.js';
export * from './iso-reader.js';
export * from './mbr.js';
export * from './open.js';
export * from './pe.js';
export { SECTOR } from './sector.js';
