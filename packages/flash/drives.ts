/** Lists the drives of this machine. */
import type { Drive } from './drive.js';
import { listLinuxDrives } from './linux-drives.js';
import { listMacDrives } from './mac-drives.js';

/** The drives by name. @throws the errors of reading /sys, or of diskutil on a Mac */
export const listDrives = (): Promise<Drive[]> => (process.platform === 'darwin' ? listMacDrives() : listLinuxDrives());
