/** Lists the partitions of a disk, and opens one of them as a device. */
import { failure, type BlockBackend } from './backend.js';
import { gptPartitions } from './gpt.js';
import { mbrPartitions, readMbr } from './mbr.js';
import { parsing } from './parsing.js';
import type { Partition } from './partition-entry.js';
import { slice } from './slice.js';

export interface PartitionsOptions {
  /**
   * Bytes of a logical sector. Default: the position of a GPT tells it. An MBR does not record it, and 512 is assumed.
   */
  readonly sectorSize?: number;
}

/**
 * The partitions in the GPT, or else in the MBR. An extended partition is left out; the partitions in it are listed.
 * @throws Error with the code EINVAL if there is no table, or if it is damaged
 */
export async function partitions(disk: BlockBackend, options: PartitionsOptions = {}): Promise<Partition[]> {
  const { sectorSize } = options;
  const input = parsing(disk, 'the partition table');
  const mbr = await readMbr(input);
  if (!mbr) throw failure('EINVAL', 'the disk has no partition table');
  const gpt = mbr.isProtective
    ? await gptPartitions(input, sectorSize === undefined ? undefined : [sectorSize])
    : undefined;
  if (mbr.isProtective && !gpt) throw input.formatError('the MBR says that there is a GPT, and there is none');
  return gpt ?? mbrPartitions(input, mbr, sectorSize ?? 512);
}

/**
 * Opens one partition. `close` closes the disk.
 * @throws Error with the code ENOENT, which lists the partitions, if none has this number; EINVAL if the partition lies
 * beyond the disk, or if there is no intact table. The disk stays open in these cases
 */
export async function partition(
  disk: BlockBackend,
  number: number,
  options: PartitionsOptions = {},
): Promise<BlockBackend> {
  const all = await partitions(disk, options);
  const found = all.find((candidate) => candidate.number === number);
  if (!found) throw failure('ENOENT', `there is no partition ${number}: ${listOf(all)}`);
  const { offset, length } = found;
  if (!(offset >= 0 && length > 0 && offset + length <= disk.size))
    throw failure('EINVAL', `partition ${number} is not within the disk: ${length} bytes at ${offset} of ${disk.size}`);
  return slice(disk, offset, length);
}

/** Partitions to list in a message: a hostile table has thousands. */
const MAX_NAMED = 32;

function listOf(partitions: readonly Partition[]): string {
  if (partitions.length === 0) return 'the table is empty';
  const shown = partitions.slice(0, MAX_NAMED).map(({ number, length, name }) => {
    const label = name === undefined ? '' : `, ${JSON.stringify(name)}`;
    return `${number} (${length} bytes${label})`;
  });
  return `there are ${shown.join(', ')}${partitions.length > MAX_NAMED ? ' …' : ''}`;
}
