/** Images and stores for the tests. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory, random, type BlockBackend } from '@nodeos/block';
import { afterEach } from 'vitest';
import { imageStore, type Place, type WritableImageStore } from '@nodeos/store';

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

export async function temporary(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-store-test-'));
  folders.push(folder);
  return folder;
}

export const storeOf = (place: Place): WritableImageStore => imageStore(place) as WritableImageStore;

/** Text that compresses, noise that does not, and zeros. The same seed gives the same image. */
export async function imageOf(size: number, seed: number): Promise<BlockBackend> {
  const device = memory(size);
  const draw = random(seed);
  for (let at = 0; at < size; at += 16 << 10) {
    const length = Math.min(16 << 10, size - at);
    const kind = draw();
    if (kind < 0.3) continue;
    const bytes = Buffer.alloc(length);
    if (kind < 0.6) for (let i = 0; i < length; i++) bytes[i] = draw() * 256;
    else bytes.fill(`file ${Math.floor(draw() * 20)} of the image\n`, 0, Math.floor(draw() * length));
    await device.write?.(bytes, at);
  }
  return device;
}

export async function contentsOf(device: BlockBackend): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size);
  await device.read(bytes, 0);
  return bytes;
}

/** A copy with one byte changed. */
export function flipped(bytes: Uint8Array, at: number, flip = 1): Buffer {
  const changed = Buffer.from(bytes);
  changed.writeUInt8(changed.readUInt8(at % changed.length) ^ flip, at % changed.length);
  return changed;
}
