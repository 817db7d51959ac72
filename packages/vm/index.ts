/** Virtual machines: QEMU command lines, consoles, accelerators. */
export * from './accelerator.js';
export * from './advice.js';
export { withoutParts } from './device-tree.js';
export { escaped } from './escaped.js';
export * from './events.js';
export * from './machine.js';
export { DRIVE_NAMES, FIRMWARE_NAMES, type CardFiles, type Drive, type Medium } from './media.js';
export * from './ports.js';
export * from './qemu.js';
export * from './sandbox.js';
export * from './trouble.js';
