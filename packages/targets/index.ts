/** What systems are built for: the targets (ABIs) and the boards that each target boots on. */
export * from './board.js';
export * from './target.js';
