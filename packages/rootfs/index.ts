/** The parts of a system, and the part that all systems share. */
export * from './base.js';
export * from './image.js';
export * from './part.js';
