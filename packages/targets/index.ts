/** What systems are built for: the ABI of a target, and the boards that it boots on. */
export * from './board.js';
export * from './target.js';
