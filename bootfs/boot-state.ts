/**
 * Encodes which slot a disk starts. The loaders read it, count down the tries of a slot that nobody has validated yet,
 * and fall back to the other one (bios/second.S, efi/slot.h).
 *
 *     byte 0     "nosS"
 *     byte 4     version, 1
 *     byte 8     sequence: of two copies the newer one counts
 *     byte 12    slot to start: 0 is a, 1 is b
 *     byte 13    tries left, if it has not been validated
 *     byte 14    validated slots, a bit each
 *     byte 16    place of the head of slot a, in sectors of 512 bytes; 0: empty
 *     byte 20    the same of slot b
 *     byte 508   CRC-32 of what is before
 *
 * Numbers are little-endian. Each copy is alone in a block of 4096 bytes, so a drive with sectors of that size writes it
 * and nothing else. A GPT in sectors of that size ends just before them. A writer replaces the copy that does not count:
 * after a power cut there is the old state or the new.
 */
import { crc32 } from 'node:zlib';
import { NodeosError } from '@nodeos/base';

export const SLOTS = ['a', 'b'] as const;
export type Slot = (typeof SLOTS)[number];

/** Where the copies are on a disk, and how long each is, in bytes. */
export const STATE_COPIES = [24576, 28672] as const;
export const STATE_LENGTH = 512;

export interface SlotState {
  /** Where the slot's head is on the disk, in bytes: a multiple of 512 below 2 TiB. 0: the slot is empty. */
  readonly head: number;
  /** Whether a system in it has shown that it works. */
  readonly validated: boolean;
}

export interface BootState {
  /** From 0 to 2**32 - 1. After the last comes 0. */
  readonly sequence: number;
  /** The slot to start. */
  readonly slot: Slot;
  /** How often it is still started without having been validated: 0 to 255. */
  readonly tries: number;
  readonly slots: Readonly<Record<Slot, SlotState>>;
}

/** The bytes are no state: they are damaged, or of a version that is not known. */
export class BootStateError extends NodeosError {}

const MAGIC = 'nosS';
const VERSION = 1;
const SECTOR = 512;
const SUM = STATE_LENGTH - 4;
const MAX_UINT32 = 2 ** 32 - 1;
const AT = { version: 4, sequence: 8, slot: 12, tries: 13, validated: 14, heads: 16 } as const;

/** @throws RangeError for a number that the format cannot hold */
export function encodeBootState({ sequence, slot, tries, slots }: BootState): Buffer {
  check('the sequence', sequence, MAX_UINT32);
  check('the number of tries', tries, 255);
  const bytes = Buffer.alloc(STATE_LENGTH);
  bytes.write(MAGIC, 'latin1');
  bytes.writeUInt32LE(VERSION, AT.version);
  bytes.writeUInt32LE(sequence, AT.sequence);
  bytes.writeUInt8(SLOTS.indexOf(slot), AT.slot);
  bytes.writeUInt8(tries, AT.tries);
  for (const [index, name] of SLOTS.entries()) {
    const { head, validated } = slots[name];
    check(`the sector of the head of slot ${name}`, head / SECTOR, MAX_UINT32);
    bytes.writeUInt8(bytes.readUInt8(AT.validated) | (Number(validated) << index), AT.validated);
    bytes.writeUInt32LE(head / SECTOR, AT.heads + 4 * index);
  }
  bytes.writeUInt32LE(crc32(bytes.subarray(0, SUM)), SUM);
  return bytes;
}

/** @param bytes at least 512; what follows is ignored. @throws BootStateError that says what is wrong */
export function decodeBootState(bytes: Uint8Array): BootState {
  const state = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (state.length < STATE_LENGTH)
    throw new BootStateError(`a boot state of ${state.length} bytes: ${STATE_LENGTH} are needed`);
  if (state.toString('latin1', 0, 4) !== MAGIC) throw new BootStateError('there is no boot state');
  const version = state.readUInt32LE(AT.version);
  if (version !== VERSION) throw new BootStateError(`the boot state has the version ${version}: ${VERSION} is known`);
  if (state.readUInt32LE(SUM) !== crc32(state.subarray(0, SUM))) throw new BootStateError('the boot state is damaged');
  const slot = SLOTS[state.readUInt8(AT.slot)];
  if (!slot) throw new BootStateError(`the boot state names the slot ${state.readUInt8(AT.slot)}: 0 or 1 is possible`);
  const slotState = (index: number): SlotState => ({
    head: state.readUInt32LE(AT.heads + 4 * index) * SECTOR,
    validated: ((state.readUInt8(AT.validated) >> index) & 1) === 1,
  });
  return {
    sequence: state.readUInt32LE(AT.sequence),
    slot,
    tries: state.readUInt8(AT.tries),
    slots: { a: slotState(0), b: slotState(1) },
  };
}

/**
 * Finds the copy that counts: the newer one of those that are intact.
 * @param copies the bytes at `STATE_COPIES`
 * @returns its state and its index. A change is written to the other copy, with the next sequence. Undefined if both are
 * damaged
 */
export function currentBootState(
  copies: readonly [Uint8Array, Uint8Array],
): { readonly state: BootState; readonly copy: 0 | 1 } | undefined {
  const [first, second] = copies.map(intact);
  if (!first) return second && { state: second, copy: 1 };
  return second && isNewer(second, first) ? { state: second, copy: 1 } : { state: first, copy: 0 };
}

/** The sequence of the state that replaces this one. */
export const nextSequence = ({ sequence }: Pick<BootState, 'sequence'>): number => (sequence + 1) >>> 0;

/** Compares as RFC 1982 does, so the sequence may start again at 0. */
const isNewer = (one: BootState, other: BootState): boolean => ((one.sequence - other.sequence) | 0) > 0;

function intact(bytes: Uint8Array): BootState | undefined {
  try {
    return decodeBootState(bytes);
  } catch (error) {
    if (error instanceof BootStateError) return undefined;
    throw error;
  }
}

function check(what: string, value: number, most: number): void {
  if (!(Number.isInteger(value) && value >= 0 && value <= most))
    throw new RangeError(`${what} is ${value}: an integer from 0 to ${most} is needed`);
}
