/** The nodeos command, callable in-process. */
export * from './command.js';
export * from './commands/index.js';
export * from './config/define.js';
export * from './main.js';
export * from './system.js';
