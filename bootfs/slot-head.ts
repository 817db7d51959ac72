/**
 * Encodes the start of a slot: what a loader must know of the unified kernel image that follows. All places are
 * relative to the head, so the same bytes can be written to either slot.
 *
 *     byte 0      "nosH"
 *     byte 4      version, 1
 *     byte 8      1: the loader adds its word for the slot to the command line
 *     byte 16     unified kernel image: place in sectors of 512 bytes, length in bytes
 *     byte 24     the kernel in it
 *     byte 32     the initramfs in it
 *     byte 64     command line: at most 1023 characters and a zero
 *     byte 4092   CRC-32 of what is before
 *
 * Numbers are little-endian. A loader for UEFI reads the unified kernel image; one for a BIOS, which cannot run it, the rest.
 */
import { crc32 } from 'node:zlib';
import { NodeosError } from '@nodeos/base';
import type { Place } from '@nodeos/fs';

/** Bytes. */
export const HEAD_LENGTH = 4096;
export const MAX_COMMAND_LINE = 1023;

export interface SlotHead {
  /** Bytes from the start of the head, multiples of 512 below 2 TiB. */
  readonly uki: Place;
  readonly kernel: Place;
  readonly initramfs: Place;
  /** Printable ASCII, at most 1023 characters. */
  readonly commandLine: string;
  /** Whether it is in one of two slots, and the system is to know in which. */
  readonly isSlot: boolean;
}

/** The bytes are no head: they are damaged, of a version that is not known, or say what cannot be. */
export class SlotHeadError extends NodeosError {}

const MAGIC = 'nosH';
const VERSION = 1;
const SECTOR = 512;
const SUM = HEAD_LENGTH - 4;
const MAX_UINT32 = 2 ** 32 - 1;
const AT = { version: 4, flags: 8, places: 16, commandLine: 64 } as const;
const PLACES = ['uki', 'kernel', 'initramfs'] as const;
const IS_SLOT = 1;

/** @throws RangeError for a place or a command line that the format cannot hold */
export function encodeSlotHead(head: SlotHead): Buffer {
  const { commandLine, isSlot } = head;
  if (commandLine.length > MAX_COMMAND_LINE || !/^[ -~]*$/.test(commandLine))
    throw new RangeError(
      `a command line of ${commandLine.length} characters: at most ${MAX_COMMAND_LINE} of printable ASCII fit`,
    );
  const bytes = Buffer.alloc(HEAD_LENGTH);
  bytes.write(MAGIC, 'latin1');
  bytes.writeUInt32LE(VERSION, AT.version);
  bytes.writeUInt32LE(isSlot ? IS_SLOT : 0, AT.flags);
  for (const [index, name] of PLACES.entries()) {
    const { offset, length } = head[name];
    const sector = offset / SECTOR;
    if (!isPlace(sector, length))
      throw new RangeError(`${name}: ${length} bytes at ${offset} of the head, which has no room for such numbers`);
    bytes.writeUInt32LE(sector, AT.places + 8 * index);
    bytes.writeUInt32LE(length, AT.places + 8 * index + 4);
  }
  bytes.write(commandLine, AT.commandLine, 'latin1');
  bytes.writeUInt32LE(crc32(bytes.subarray(0, SUM)), SUM);
  return bytes;
}

/** @param bytes at least 4096; what follows is ignored. @throws SlotHeadError that says what is wrong */
export function decodeSlotHead(bytes: Uint8Array): SlotHead {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (head.length < HEAD_LENGTH) throw new SlotHeadError(`a head of ${head.length} bytes: ${HEAD_LENGTH} are needed`);
  if (head.toString('latin1', 0, 4) !== MAGIC) throw new SlotHeadError('there is no head of a slot');
  const version = head.readUInt32LE(AT.version);
  if (version !== VERSION) throw new SlotHeadError(`the head has the version ${version}: ${VERSION} is known`);
  if (head.readUInt32LE(SUM) !== crc32(head.subarray(0, SUM))) throw new SlotHeadError('the head is damaged');
  const [uki, kernel, initramfs] = PLACES.map((name, index) => {
    const [sector, length] = [8 * index, 8 * index + 4].map((at) => head.readUInt32LE(AT.places + at)) as [
      number,
      number,
    ];
    if (!isPlace(sector, length))
      throw new SlotHeadError(`${name}: ${length} bytes at the sector ${sector} of the head`);
    return { offset: sector * SECTOR, length };
  }) as [Place, Place, Place];
  const line = head.subarray(AT.commandLine, AT.commandLine + MAX_COMMAND_LINE + 1);
  const commandLine = line.toString('latin1', 0, Math.max(line.indexOf(0), 0));
  if (!line.includes(0) || !/^[ -~]*$/.test(commandLine)) throw new SlotHeadError('the command line is no text');
  return { uki, kernel, initramfs, commandLine, isSlot: (head.readUInt32LE(AT.flags) & IS_SLOT) !== 0 };
}

/** What is not empty and does not begin in the head itself. */
const isPlace = (sector: number, length: number): boolean =>
  Number.isInteger(sector) &&
  sector >= HEAD_LENGTH / SECTOR &&
  sector <= MAX_UINT32 &&
  Number.isInteger(length) &&
  length > 0 &&
  length <= MAX_UINT32;
