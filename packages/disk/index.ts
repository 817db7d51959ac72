/** Disks by name: opening, creating, describing and serving them. */
export * from './describe.js';
export { openDestination, type Destination } from './destination.js';
export * from './exports.js';
export { hintFrom, type Hints } from './hints.js';
export { exclusively, mountsOf } from './in-use.js';
export * from './layers.js';
export * from './open.js';
export * from './picture.js';
export * from './states.js';
export * from './trace-file.js';
