/** All tests of the files of linuxfs. What is about the process alone (jail, package) is not among them. */
const NAMES = ['files', 'faults', 'fsx', 'model', 'node-suite', 'posix', 'trees', 'vfs', 'crashes'];

/** Declares them for another kernel. */
export async function declareSuite(kernel: string): Promise<void> {
  process.env['NODEOS_LINUXFS_KERNEL'] = kernel;
  for (const name of NAMES) await import(`../linuxfs/${name}.test.js`);
}
