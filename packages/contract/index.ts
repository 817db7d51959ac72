/** The contract between host and guest: ports, words of the kernel command line, events, ids, `nodeos.json`. */
export * from './events.js';
export * from './header.js';
export * from './names.js';
export * from './system.js';
