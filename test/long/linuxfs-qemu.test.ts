/** The tests of linuxfs again, with the kernel under QEMU. */
import { builtQemuKernel } from '../linuxfs/disks.js';
import { declareSuite } from './linuxfs-suite.js';

await declareSuite(await builtQemuKernel());
