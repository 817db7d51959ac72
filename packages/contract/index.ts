/** What the host and the guest agree on: ports, words of the kernel's command line, events, ids, `nodeos.json`. */
export * from './events.js';
export * from './header.js';
export * from './names.js';
export * from './system.js';
