/**
 * Sets the content id of a VMDK, which qemu-img takes from chance. It stands in a text within the file, the descriptor.
 * https://github.com/libyal/libvmdk/blob/main/documentation/VMWare%20Virtual%20Disk%20Format%20(VMDK).asciidoc
 */
import { open } from 'node:fs/promises';
import { SECTOR } from '@nodeos/fs';

const MAGIC = 'KDMV';
/** Offsets of 64-bit numbers in the header: where the descriptor starts, and its length; both in sectors. */
const DESCRIPTOR = { start: 28, length: 36 };
const HEADER = 512;
/** qemu-img makes descriptors of 20 sectors. */
const MAX_SECTORS = 2048;
/** These ids mean that there is no parent, and that the id is not known. */
const RESERVED: readonly number[] = [0xffffffff, 0xfffffffe];

/** @throws Error if the file is no VMDK with a descriptor, or the descriptor has no id */
export async function setVmdkIdentity(path: string, digest: Buffer): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const header = Buffer.alloc(HEADER);
    await file.read(header, 0, HEADER, 0);
    const [start, sectors] = [header.readBigUInt64LE(DESCRIPTOR.start), header.readBigUInt64LE(DESCRIPTOR.length)];
    if (header.toString('latin1', 0, 4) !== MAGIC || start === 0n || sectors > MAX_SECTORS)
      throw new Error(`${path} is no VMDK with a descriptor`);
    const [at, length] = [Number(start) * SECTOR, Number(sectors) * SECTOR];
    const old = Buffer.alloc(length);
    await file.read(old, 0, length, at);
    // A text ends at the first zero. Where qemu-img has replaced an id by a shorter one, more stands behind it.
    const [text = ''] = old.toString('latin1').split('\0', 1);
    const changed = text.replace(/^CID=[0-9a-f]+$/m, `CID=${contentId(digest)}`);
    if (!/^CID=[0-9a-f]{8}$/m.test(changed)) throw new Error(`${path}: its descriptor has no CID`);
    const bytes = Buffer.alloc(length);
    if (bytes.write(changed, 'latin1') < changed.length) throw new Error(`${path}: the descriptor has no room`);
    await file.write(bytes, 0, length, at);
  } finally {
    await file.close();
  }
}

function contentId(digest: Buffer): string {
  const id = digest.readUInt32BE(0);
  return (RESERVED.includes(id) ? 0 : id).toString(16).padStart(8, '0');
}
