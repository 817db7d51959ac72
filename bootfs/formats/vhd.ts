/**
 * Sets the id and the time of a VHD of fixed size, which qemu-img takes from chance and from the clock. They stand in the
 * last 512 bytes, the footer. https://learn.microsoft.com/en-us/windows/win32/vstor/about-vhd ("Virtual Hard Disk Image
 * Format Specification")
 */
import { open } from 'node:fs/promises';

const FOOTER = 512;
const COOKIE = 'conectix';
/** Offsets in the footer. Numbers are big-endian. The time is in seconds since 2000. */
const FIELD = { time: 24, checksum: 64, id: 68 };
const ID_LENGTH = 16;

/** @throws Error if the file does not end with a footer */
export async function setVhdIdentity(path: string, digest: Buffer): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const at = (await file.stat()).size - FOOTER;
    const footer = Buffer.alloc(FOOTER);
    if (at >= 0) await file.read(footer, 0, FOOTER, at);
    if (footer.toString('latin1', 0, COOKIE.length) !== COOKIE) throw new Error(`${path} is no VHD: it has no footer`);
    footer.writeUInt32BE(0, FIELD.time);
    digest.copy(footer, FIELD.id, 0, ID_LENGTH);
    footer.writeUInt32BE(checksumOf(footer), FIELD.checksum);
    await file.write(footer, 0, FOOTER, at);
  } finally {
    await file.close();
  }
}

/** The complement of the sum of all bytes but its own. */
export function checksumOf(footer: Buffer): number {
  const isOwn = (index: number): boolean => index >= FIELD.checksum && index < FIELD.checksum + 4;
  return ~footer.reduce((sum, byte, index) => sum + (isOwn(index) ? 0 : byte), 0) >>> 0;
}
