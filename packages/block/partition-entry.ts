/** The part of an entry that every partition table has. */
export interface Partition {
  /** The kernel's number: from 1 in a GPT; 1 to 4 for primary partitions of an MBR, from 5 for logical ones. */
  readonly number: number;
  /** Bytes from the start of the disk, as in the table. It may be beyond the end of the disk. */
  readonly offset: number;
  readonly length: number;
  /** A GUID in a GPT, or a number such as `0x83` in an MBR. */
  readonly type: string;
  /** Only in a GPT. */
  readonly name?: string;
}
