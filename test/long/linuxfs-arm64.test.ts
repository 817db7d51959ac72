/** The tests of linuxfs again, with the kernel for arm64 under QEMU, and those of QEMU with it. */
import { builtQemuKernel } from '../linuxfs/disks.js';
import { declareSuite } from './linuxfs-suite.js';

const kernel = await builtQemuKernel('aarch64');
process.env['NODEOS_LINUXFS_QEMU_KERNEL'] = kernel;
await declareSuite(kernel);
await import('../linuxfs/qemu.test.js');
