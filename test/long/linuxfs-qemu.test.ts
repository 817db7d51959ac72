/** All tests of the files, again with the kernel under QEMU. What is about the process alone (jail, package) is not among them. */
import { builtQemuKernel } from '../linuxfs/disks.js';

process.env['NODEOS_LINUXFS_KERNEL'] = await builtQemuKernel();
for (const name of ['files', 'faults', 'fsx', 'model', 'node-suite', 'posix', 'trees', 'vfs', 'crashes'])
  await import(`../linuxfs/${name}.test.js`);
