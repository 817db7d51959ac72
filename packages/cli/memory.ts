/** Whether a machine can hold what it boots from. Said before it is started: the kernel may end without a word. */
import { stat } from 'node:fs/promises';
import { UsageError } from '@nodeos/base';
import { unpackedSize } from '@nodeos/initramfs';
import { mebibytesOf, memoryOf } from '@nodeos/vm';

const MIB = 1 << 20;
/** Mebibytes of the kernel and of Node.js as it starts; with less no boot came to its end (docs/vm.md). */
const SYSTEM = 38.5;
/** A fortieth is what the kernel keeps for each page of memory, and does not give away. */
const PAGES = 40 / 39;
/** Mebibytes beside the least, for what is recommended, which is a multiple of the second. */
const MARGIN = 8;
const STEP = 16;

export interface Load {
  /** Mebibytes of an initramfs. */
  readonly archive: number;
  /** Mebibytes of what is in it. */
  readonly contents: number;
}

/** Mebibytes. The archive is in memory until all that is in it is unpacked. */
export const leastMemory = ({ archive, contents }: Load): number => Math.ceil((archive + contents + SYSTEM) * PAGES);

/** Mebibytes that will do. */
export const enoughMemory = (load: Load): number => Math.ceil((leastMemory(load) + MARGIN) / STEP) * STEP;

/**
 * @param memory as QEMU takes it: `256M`
 * @param initramfs a path
 * @throws UsageError if it is certainly too little
 */
export async function checkMemory(memory: string, initramfs: string): Promise<void> {
  const contents = await unpackedSize(initramfs).catch(() => undefined);
  // Whatever is wrong with it, the kernel says.
  if (contents === undefined) return;
  const load = { archive: (await stat(initramfs)).size / MIB, contents: contents / MIB };
  if (mebibytesOf(memory) >= leastMemory(load)) return;
  const [archive, unpacked] = [load.archive, load.contents].map((size) => `${Math.round(size)} MiB`);
  throw new UsageError(
    `${memory} of memory are too little: the initramfs has ${archive}, and what is in it takes ${unpacked} more`,
    { hint: `--memory ${memoryOf(enoughMemory(load))} will do; with --root nbd none of it is in memory` },
  );
}
