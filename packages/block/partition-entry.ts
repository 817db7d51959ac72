/** What every partition table says of a partition. */
export interface Partition {
  /** As the kernel counts: primary ones of an MBR from 1 to 4, its logical ones from 5 on. */
  readonly number: number;
  /** Bytes from the start of the disk, as the table says it: it may be beyond the disk's end. */
  readonly offset: number;
  readonly length: number;
  /** A GUID, or `0x83`. */
  readonly type: string;
  /** Of a GPT. */
  readonly name?: string;
}
