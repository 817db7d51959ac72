/** Finds the kernel's file. */
import { access, constants } from 'node:fs/promises';
import { createRequire } from 'node:module';

/**
 * The given file, `NODEOS_LINUXFS_KERNEL`, or that of the package for this platform.
 * @throws Error that says what to install
 */
export async function findKernel(given = process.env['NODEOS_LINUXFS_KERNEL']): Promise<string> {
  const path = given ?? fromPackage();
  try {
    await access(path, constants.X_OK);
  } catch (error) {
    throw new Error(`${path} is no kernel that can be started`, { cause: error });
  }
  return path;
}

function fromPackage(): string {
  const name = `@nodeos/linuxfs-${process.platform}-${process.arch}`;
  try {
    return createRequire(import.meta.url).resolve(`${name}/linux`);
  } catch (error) {
    const why =
      process.platform === 'linux' && process.arch === 'x64'
        ? 'install it beside @nodeos/linuxfs'
        : 'this platform has none yet';
    throw new Error(`the kernel is in the package ${name}: ${why}`, { cause: error });
  }
}
