/** The boot media layer. */
export * from './boot-state.js';
export * from './data.js';
export * from './formats/index.js';
export * from './loaders.js';
export * from './media.js';
export * from './slot-head.js';
export { slotHead, slotRegions } from './slot.js';
export * from './uki.js';
export { readConfig, type CardBoot } from './raspi/config.js';
