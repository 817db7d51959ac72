/** The initramfs layer. */
export * from './build.js';
export * from './root-image.js';
export * from './tls.js';
