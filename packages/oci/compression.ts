/** Whether a file is compressed in one of the ways that tar archives are. */
import { open } from 'node:fs/promises';

/** gzip, zstd, bzip2, xz: the first bytes of each. */
const MAGICS = ['1f8b', '28b52ffd', '425a68', 'fd377a585a00'].map((hex) => Buffer.from(hex, 'hex'));

export async function isCompressed(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(6), 0, 6, 0);
    return MAGICS.some((magic) => bytesRead >= magic.length && magic.equals(buffer.subarray(0, magic.length)));
  } finally {
    await file.close();
  }
}
