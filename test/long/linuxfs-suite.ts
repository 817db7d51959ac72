/** All tests of the files of linuxfs. What is about the process alone (jail, package) is not among them. */
const FILES = [
  () => import('../linuxfs/files.test.js'),
  () => import('../linuxfs/faults.test.js'),
  () => import('../linuxfs/fsx.test.js'),
  () => import('../linuxfs/model.test.js'),
  () => import('../linuxfs/node-suite.test.js'),
  () => import('../linuxfs/posix.test.js'),
  () => import('../linuxfs/trees.test.js'),
  () => import('../linuxfs/vfs.test.js'),
  () => import('../linuxfs/crashes.test.js'),
];

/** Declares them for another kernel. */
export async function declareSuite(kernel: string): Promise<void> {
  process.env['NODEOS_LINUXFS_KERNEL'] = kernel;
  for (const declare of FILES) await declare();
}
