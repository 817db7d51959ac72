/**
 * Checks before the start whether a machine has enough memory for its initramfs. Without this check, the kernel may end
 * without a message.
 */
import { stat } from 'node:fs/promises';
import { UsageError } from '@nodeos/base';
import { unpackedSize } from '@nodeos/initramfs';
import { mebibytesOf, memoryOf } from '@nodeos/vm';

const MIB = 1 << 20;
/** MiB used by the kernel and by Node.js at its start. No boot succeeded with less (docs/vm.md). */
const SYSTEM = 38.5;
/** The kernel reserves one fortieth of the memory for its page structures. */
const PAGES = 40 / 39;
/** MiB added to the minimum for the recommendation, which is then rounded up to a multiple of STEP. */
const MARGIN = 8;
const STEP = 16;

export interface Load {
  /** Size of the initramfs in MiB. */
  readonly archive: number;
  /** Size of its unpacked contents in MiB. */
  readonly contents: number;
}

/** Minimum memory in MiB. The archive stays in memory until it is completely unpacked. */
export const leastMemory = ({ archive, contents }: Load): number => Math.ceil((archive + contents + SYSTEM) * PAGES);

/** Recommended memory in MiB. */
export const enoughMemory = (load: Load): number => Math.ceil((leastMemory(load) + MARGIN) / STEP) * STEP;

/**
 * Checks the memory of a machine.
 * @param memory in QEMU's notation: `256M`
 * @param initramfs the path of the initramfs
 * @throws UsageError if the memory is certainly too small
 */
export async function checkMemory(memory: string, initramfs: string): Promise<void> {
  const contents = await unpackedSize(initramfs).catch(() => undefined);
  // If the initramfs is unreadable, leave the error message to the kernel.
  if (contents === undefined) return;
  const load = { archive: (await stat(initramfs)).size / MIB, contents: contents / MIB };
  if (mebibytesOf(memory) >= leastMemory(load)) return;
  const [archive, unpacked] = [load.archive, load.contents].map((size) => `${Math.round(size)} MiB`);
  throw new UsageError(
    `${memory} of memory are too little: the initramfs has ${archive}, and what is in it takes ${unpacked} more`,
    { hint: `--memory ${memoryOf(enoughMemory(load))} will do; with --root nbd none of it is in memory` },
  );
}
