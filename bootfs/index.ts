/** The boot media layer. */
export * from './data.js';
export * from './formats/index.js';
export * from './loaders.js';
export * from './media.js';
export * from './uki.js';
export { readConfig, type CardBoot } from './raspi/config.js';
