/** The application layer. */
export * from './application.js';
export * from './app-files.js';
export * from './install.js';
export * from './lock.js';
export * from './make-lock.js';
export * from './manifest.js';
export * from './native.js';
export * from './parts.js';
export * from './project.js';
export * from './settings.js';
export * from './start-script.js';
