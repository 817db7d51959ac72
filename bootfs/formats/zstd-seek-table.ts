/**
 * The table at the end of a zstd file that says where its frames are. To programs that do not know it, it is a frame to
 * skip. https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md
 */

/** Both in bytes. */
export interface Frame {
  readonly stored: number;
  readonly length: number;
}

const SKIPPABLE = 0x184d2a5e;
const MAGIC = 0x8f92eab1;
/** Bytes of an entry without a checksum, and of the footer. */
const SIZE = { entry: 8, footer: 9, header: 8 };

export function seekTable(frames: readonly Frame[]): Buffer {
  const length = frames.length * SIZE.entry + SIZE.footer;
  const table = Buffer.alloc(SIZE.header + length);
  let at = table.writeUInt32LE(SKIPPABLE, 0);
  at = table.writeUInt32LE(length, at);
  for (const { stored, length: unpacked } of frames) {
    at = table.writeUInt32LE(stored, at);
    at = table.writeUInt32LE(unpacked, at);
  }
  at = table.writeUInt32LE(frames.length, at);
  at = table.writeUInt8(0, at); // no checksums: the frames have their own
  table.writeUInt32LE(MAGIC, at);
  return table;
}
