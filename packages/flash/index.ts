/** Writes images to sticks and cards. */
export * from './capacity.js';
export type { Drive } from './drive.js';
export * from './drives.js';
export * from './flash.js';
