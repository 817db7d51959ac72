/**
 * What Linux does to a whole mounted filesystem by ioctl(2) of its root: trimming and resizing. The numbers are those of
 * `include/uapi/linux/fs.h` and of the headers of ext4, xfs and btrfs (`fs/ext4/ext4.h`, `fs/xfs/libxfs/xfs_fs.h`,
 * `include/uapi/linux/btrfs.h`) of Linux 6.12.
 */
import { fsError } from './errors.js';
import { O } from './protocol.js';
import type { Volume } from './volume.js';

/** Bits of a number of ioctl(2): whether the driver reads the argument, whether it changes it. */
const [WRITE, READ] = [1, 2];
const number = (direction: number, group: string | number, index: number, size: number): number =>
  direction * 2 ** 30 + (size << 16) + ((typeof group === 'string' ? group.charCodeAt(0) : group) << 8) + index;

const FITRIM = number(READ | WRITE, 'X', 121, 24);
const EXT4_IOC_RESIZE_FS = number(WRITE, 'f', 16, 8);
const XFS_IOC_FSGROWFSDATA = number(WRITE, 'X', 110, 16);
const XFS_IOC_FSGEOMETRY = number(READ, 'X', 126, 256);
const BTRFS_IOC_RESIZE = number(WRITE, 0x94, 3, 4096);

type Ioctl = (command: number, argument: Buffer) => Promise<Buffer>;

/** Opens the root for the work. */
async function atRoot<T>(volume: Volume, syscall: string, work: (ioctl: Ioctl) => Promise<T>): Promise<T> {
  const fd = await volume.open('/', O.RDONLY, 0);
  try {
    return await work((command, argument) => volume.ioctl(fd, command, argument, syscall));
  } finally {
    await volume.close(fd);
  }
}

/** @returns bytes that were trimmed. @throws FsError with the code ENOTTY or ENOTSUP if the filesystem cannot, or the device */
export const trim = (volume: Volume): Promise<number> =>
  atRoot(volume, 'fitrim', async (ioctl) => {
    const [start, length, smallest] = [0n, 0xffff_ffff_ffff_ffffn, 0n];
    const range = await ioctl(FITRIM, words(start, length, smallest));
    return Number(range.readBigUInt64LE(8));
  });

/** Tells the type's driver how many bytes it shall have. */
type Resizer = (ioctl: Ioctl, bytes: number, blockSize: number) => Promise<unknown>;

const ext: Resizer = (ioctl, bytes, blockSize) =>
  ioctl(EXT4_IOC_RESIZE_FS, words(BigInt(Math.floor(bytes / blockSize))));

const RESIZERS: Readonly<Record<string, Resizer>> = {
  ext4: ext,
  ext3: ext,
  ext2: ext,
  btrfs: (ioctl, bytes) => {
    const argument = Buffer.alloc(4096);
    argument.write(`1:${bytes}`, 8); // of its first device, which is the only one
    return ioctl(BTRFS_IOC_RESIZE, argument);
  },
  xfs: async (ioctl, bytes) => {
    const geometry = await ioctl(XFS_IOC_FSGEOMETRY, Buffer.alloc(256));
    const [blockSize, inodePercent] = [geometry.readUInt32LE(0), geometry.readUInt32LE(28)];
    return ioctl(XFS_IOC_FSGROWFSDATA, words(BigInt(Math.floor(bytes / blockSize)), BigInt(inodePercent)));
  },
};

const ENOTSUP = 95;

/**
 * Makes a mounted filesystem as large as so many bytes of its device. btrfs can become smaller too.
 * @throws FsError: ENOTSUP for a type that Linux does not resize while it is mounted, EINVAL or another of the driver for a
 * size that it cannot have, ENOSPC for one beyond the device, EROFS
 */
export async function resize(volume: Volume, type: string, bytes: number): Promise<void> {
  const resizer = RESIZERS[type];
  if (!resizer) throw fsError(ENOTSUP, 'resize');
  const { blockSize } = await volume.statfs('/');
  await atRoot(volume, 'resize', (ioctl) => resizer(ioctl, bytes, Number(blockSize)));
  await volume.sync();
}

/** Little-endian numbers of 64 bits. */
function words(...values: bigint[]): Buffer {
  const bytes = Buffer.alloc(values.length * 8);
  for (const [index, value] of values.entries()) bytes.writeBigUInt64LE(value, index * 8);
  return bytes;
}
