/** The blocks of a device that are not known to be zero, in order. */
import { extentsOf, type BlockBackend } from '@nodeos/block';

interface Block {
  readonly index: number;
  /** Valid until the next block is asked for. */
  readonly block: Uint8Array;
}

/** Bytes whose extents are asked for at once. */
const SPAN = 256 << 20;

/** @param progress bytes that are done, and the size of the device */
export async function* blocksOf(
  device: BlockBackend,
  blockSize: number,
  progress?: (done: number, size: number) => void,
): AsyncGenerator<Block> {
  const { size } = device;
  const buffer = Buffer.from(new ArrayBuffer(blockSize));
  for (let start = 0; start < size; start += SPAN) {
    const holds = await dataIn(device, start, Math.min(SPAN, size - start), blockSize);
    for (let at = start; at < Math.min(start + SPAN, size); at += blockSize) {
      const index = at / blockSize;
      const block = buffer.subarray(0, Math.min(blockSize, size - at));
      if (holds(index)) {
        await device.read(block, at);
        yield { index, block };
      }
      progress?.(at + block.length, size);
    }
  }
}

/** @returns whether a block may have other bytes than zeros */
async function dataIn(
  device: BlockBackend,
  start: number,
  length: number,
  blockSize: number,
): Promise<(index: number) => boolean> {
  if (!device.extents) return () => true;
  const found = new Set<number>();
  for (const { offset, length: count, zero } of await extentsOf(device, start, length))
    if (!zero)
      for (let index = Math.floor(offset / blockSize); index * blockSize < offset + count; index++) found.add(index);
  return (index) => found.has(index);
}
