/** The initramfs layer. */
export * from './append.js';
export * from './initramfs.js';
export * from './tls.js';
export * from './unpacked.js';
