/** The initramfs layer. */
export * from './append.js';
export * from './build.js';
export * from './root-image.js';
export * from './tls.js';
export * from './unpacked.js';
