/**
 * Numbers and structures of EROFS that its writer and its reader share.
 * https://erofs.docs.kernel.org/en/latest/core_ondisk.html
 */

export const MAGIC = 0xe0f5e1e2;
/** Offset of the superblock in the image in bytes, and its length. The first KiB is left to boot loaders. */
export const SUPERBLOCK = { at: 1024, length: 128 };
export const BLOCK_BITS = 12;
/** Bytes of a block of the images that are written. */
export const BLOCK = 1 << BLOCK_BITS;
/** An inode's number is its offset in units of this many bytes. */
export const NID_UNIT = 32;
/** Bytes of an entry in a folder, without the name. */
export const DIRENT = 12;
/** Offsets in inodes in bytes, by their version. */
export const COMPACT = { length: 32, size: 4, links: 6, uid: 24, gid: 26, ids: 2, mtime: undefined };
export const EXTENDED = { length: 64, size: 8, links: 44, uid: 24, gid: 28, ids: 4, mtime: 32 };
/** Layouts of contents: in blocks; in blocks, with a tail behind the inode. */
export const [PLAIN, INLINE] = [0, 2];
