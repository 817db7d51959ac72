/** What systems are made of, and what all of them have. */
export * from './base.js';
export * from './image.js';
export * from './part.js';
