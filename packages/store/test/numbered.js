// Images whose contents follow from their number. Neighbours share most blocks.
import { Buffer } from 'node:buffer';
export const BLOCK = 16 << 10;
const BLOCKS = 24;

/** @param memory of @nodeos/block @param {number} n */
export async function imageNumber(memory, n) {
  const device = memory(BLOCKS * BLOCK);
  for (let index = 0; index < BLOCKS; index++) {
    // Block `index` changes with every (index + 1)th image.
    const version = Math.floor(n / (index + 1));
    await device.write(Buffer.alloc(BLOCK - index, `block ${index} in version ${version}; `), index * BLOCK);
  }
  return device;
}
