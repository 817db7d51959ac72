/**
 * The partition table of a PC: four entries in the first sector. One of them may hold a chain of logical partitions.
 * https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html#legacy-master-boot-record-mbr
 */
import type { Parsing } from './parsing.js';
import type { Partition } from './partition-entry.js';

/** Bytes of the first sector, and of each link of the chain, that hold a table. */
const SIZE = 512;
const ENTRIES = 446;
const ENTRY = 16;
/** A longer chain is a loop or an attack. */
const MAX_LOGICAL = 128;
/** Types of partitions that hold the chain of logical partitions. */
const EXTENDED: ReadonlySet<number> = new Set([0x05, 0x0f, 0x85]);
/** Protects a GPT disk from tools that only know the MBR. */
const PROTECTIVE = 0xee;

interface Entry {
  readonly type: number;
  /** In sectors. The base depends on which table holds the entry. */
  readonly first: number;
  readonly count: number;
}

export interface Mbr {
  readonly entries: readonly Entry[];
  /** The partitions are in a GPT. A hybrid table repeats some of them here. */
  readonly isProtective: boolean;
}

/** @returns undefined if the sector holds no such table */
export async function readMbr(input: Parsing, at = 0): Promise<Mbr | undefined> {
  if (at + SIZE > input.size) return undefined;
  const sector = await input.bytes(at, SIZE, 'the partition table');
  if (sector.readUInt16LE(SIZE - 2) !== 0xaa55) return undefined;
  const entries = Array.from({ length: 4 }, (_, index) => {
    const start = ENTRIES + index * ENTRY;
    return {
      type: sector[start + 4] ?? 0,
      first: sector.readUInt32LE(start + 8),
      count: sector.readUInt32LE(start + 12),
    };
  });
  return { entries, isProtective: entries.some(({ type }) => type === PROTECTIVE) };
}

const isUsed = ({ type, count }: Entry): boolean => type !== 0 && count > 0;

/** Primary partitions are numbered 1 to 4 by position, logical ones from 5 on. */
export async function mbrPartitions(input: Parsing, { entries }: Mbr, sectorSize: number): Promise<Partition[]> {
  const found: Partition[] = [];
  const add = (number: number, { type, first, count }: Entry, base: number): void =>
    void found.push({ number, offset: (base + first) * sectorSize, length: count * sectorSize, type: hex(type) });
  for (const [index, entry] of entries.entries())
    if (isUsed(entry) && !EXTENDED.has(entry.type)) add(index + 1, entry, 0);
  const extended = entries.find((entry) => isUsed(entry) && EXTENDED.has(entry.type));
  if (!extended) return found;
  let number = 5;
  for (let next = 0, links = 0; ; links++) {
    if (links === MAX_LOGICAL)
      throw input.formatError(`more than ${MAX_LOGICAL} logical partitions, or a chain without an end`);
    const base = extended.first + next;
    if (next >= extended.count) throw input.formatError('the chain of logical partitions leaves the extended one');
    const link = await readMbr(input, base * sectorSize);
    if (!link) throw input.formatError(`no link of the chain of logical partitions at sector ${base}`);
    const [partition, nextLink] = link.entries;
    if (partition && isUsed(partition)) add(number++, partition, base);
    if (!nextLink || !isUsed(nextLink) || nextLink.first === 0) return found;
    next = nextLink.first;
  }
}

const hex = (type: number): string => `0x${type.toString(16).padStart(2, '0')}`;
