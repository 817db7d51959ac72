/** Block devices as files of a folder. */
export type { DeviceFile } from './files.js';
export { mountFiles, type Mounted, type MountOptions } from './mount.js';
