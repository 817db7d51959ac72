/** What a loader is to do, in a few lines, and bytes to try it with. */
import { crc32 } from 'node:zlib';
import { currentBootState, encodeBootState, nextSequence, SLOTS, type BootState, type Slot } from '../boot-state.js';

export type Copies = readonly [Buffer, Buffer];

export interface Expected {
  /** Index of the copy that counts; undefined if both are broken. */
  readonly copy: 0 | 1 | undefined;
  readonly first: Slot;
  /** The slot is started although its tries are over, because the other one is empty. */
  readonly isLast: boolean;
  /** What is on the disk afterwards. */
  readonly after: Copies;
}

export const otherOf = (slot: Slot): Slot => (slot === 'a' ? 'b' : 'a');

/** @param byDefault the slot that starts if both copies are broken */
export function expected(copies: Copies, byDefault: Slot = 'a'): Expected {
  const current = currentBootState(copies);
  if (!current) return { copy: undefined, first: byDefault, isLast: false, after: copies };
  const { state, copy } = current;
  const { slot, tries, slots } = state;
  const other = otherOf(slot);
  if (slots[slot].validated) return { copy, first: slot, isLast: false, after: copies };
  if (tries === 0 && slots[other].head === 0) return { copy, first: slot, isLast: true, after: copies };
  const next = tries > 0 ? { slot, tries: tries - 1 } : { slot: other, tries };
  const bytes = Buffer.from(copies[copy]); // what it does not know stays
  bytes.writeUInt32LE(nextSequence(state), 8);
  bytes.writeUInt8(SLOTS.indexOf(next.slot), 12);
  bytes.writeUInt8(next.tries, 13);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 508)), 508);
  return { copy, first: next.slot, isLast: false, after: copy === 0 ? [copies[0], bytes] : [bytes, copies[1]] };
}

/** Numbers that look random, and are the same in every run. */
export function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** A state of which all is possible. @param heads of the slots that are not empty, in bytes */
export function randomState(random: (below: number) => number, heads: readonly [number, number]): BootState {
  const [a, b] = heads.map((head) => ({ head: random(4) ? head : 0, validated: random(3) === 0 })) as [
    BootState['slots']['a'],
    BootState['slots']['b'],
  ];
  const sequence = [random(5), random(5), 0xfffffffe + random(2), 0x7fffffff + random(2)][random(4)] ?? 0;
  return { sequence, slot: SLOTS[random(2)] ?? 'a', tries: random(3) ? random(4) : random(256), slots: { a, b } };
}

/** Half are intact; the others have a wrong bit, and half of those a checksum that fits. */
export function randomCopy(random: (below: number) => number, heads: readonly [number, number]): Buffer {
  const bytes = encodeBootState(randomState(random, heads));
  if (random(2)) return bytes;
  const at = random(2) ? random(24) : random(bytes.length);
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random(8)), at);
  if (random(2)) bytes.writeUInt32LE(crc32(bytes.subarray(0, 508)), 508);
  return bytes;
}
