/** The initramfs layer. */
export * from './build.js';
