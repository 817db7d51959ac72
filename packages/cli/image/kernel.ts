/** The kernel of @nodeos/linuxfs: that of its package, else it is built, once. */
import { availableParallelism } from 'node:os';
import { findKernel } from '@nodeos/linuxfs';
import { stepsOf } from '@nodeos/engine';
import { targetOf } from '@nodeos/targets';
import { buildSteps } from '../building.js';
import type { Io } from '../command.js';

/** @returns its path. @throws Error if there is none for this platform; the errors of building */
export async function kernelPath(io: Io): Promise<string> {
  try {
    return await findKernel(io.env['NODEOS_LINUXFS_KERNEL']);
  } catch (error) {
    const canBeBuilt = process.platform === 'linux' && process.arch === 'x64';
    if (!canBeBuilt || io.env['NODEOS_LINUXFS_KERNEL'] !== undefined) throw error;
  }
  const { systemOf } = await import('../system.js');
  const { linuxfs } = await systemOf(targetOf('x86_64'));
  if (!linuxfs) throw new TypeError('a system for x86_64 and musl has a kernel of linuxfs');
  const built = await buildSteps(stepsOf(linuxfs), { jobs: availableParallelism(), json: false }, io);
  return built.path(linuxfs);
}
