/** Disks by name: opening, creating and describing them. */
export { openDestination, type Destination } from './destination.js';
export { hintFrom, type Hints } from './hints.js';
export { claim, mountsOf } from './in-use.js';
export * from './layers.js';
export * from './open.js';
export * from './picture.js';
export * from './states.js';
export * from './trace-file.js';
