/** Fills in the numbers in the stages for a BIOS (bios/first.S, bios/second.S). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SECTOR } from '@nodeos/fs';
import { encodeBootState, type BootState } from './boot-state.js';

/** Where the second stage is on a medium, in bytes. El Torito names it as well, so it is at a multiple of 2048. */
export const SECOND_STAGE = { offset: 36 * SECTOR, length: 2048 };
/** Offsets in the stages: the second one's sector, and the start of the state that counts if both copies are broken. */
const FIRST = { sector: 408 };
const SECOND = { state: SECOND_STAGE.length - 24 };

export interface BiosStages {
  readonly first: Buffer;
  readonly second: Buffer;
}

/**
 * @param folder the output of `bootLoaders`
 * @param state what counts if both copies on the medium are broken. Its slot must be validated, since it cannot be counted
 */
export async function biosStages(folder: string, state: BootState): Promise<BiosStages> {
  const [first, second] = (await Promise.all(['first', 'second'].map((name) => readFile(join(folder, name))))) as [
    Buffer,
    Buffer,
  ];
  first.writeBigUInt64LE(BigInt(SECOND_STAGE.offset / SECTOR), FIRST.sector);
  encodeBootState(state).copy(second, SECOND.state, 0, SECOND_STAGE.length - SECOND.state);
  return { first, second };
}
