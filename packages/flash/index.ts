/** Writes images to sticks and cards. */
export * from './capacity.js';
export * from './drives.js';
export * from './flash.js';
