/** Opens an image of a store as a block device. */
import { failure } from '@nodeos/block';
import { idOf, opener } from '../chunk/seal.js';
import type { ChunkStore } from '../chunks.js';
import type { Image } from '../images.js';
import type { ChunkRecord } from '../recipe/public.js';
import { storeDevice, type BlockSource, type DeviceOptions, type StoreDevice } from './device.js';

/** `close` closes the device, and not the chunks, which other images may share. */
export async function openImage(image: Image, chunks: ChunkStore, options: DeviceOptions = {}): Promise<StoreDevice> {
  return storeDevice(await sourceOf(image, chunks), options);
}

/** @throws Error with the code EIO for a chunk that is missing or is not what the recipe says */
export async function sourceOf({ name, id, recipe, keys }: Image, chunks: ChunkStore): Promise<BlockSource> {
  const { size, blockSize, codec, records } = recipe;
  const places = new Map(records.map(({ index }, number) => [index, number]));
  const open = await opener(codec, blockSize);
  const recordAt = (index: number): ChunkRecord | undefined => records[places.get(index) ?? -1];
  const chunkKey = (index: number): Uint8Array | undefined => keys?.[places.get(index) ?? -1];
  return {
    name,
    size,
    blockSize,
    version: id,
    lengthOf: (index) => recordAt(index)?.rawLength ?? 0,
    // With the key: an image that names a chunk of another one, and cannot decrypt it, does not get its bytes.
    keyOf: (index) => {
      const { id = '', rawLength = 0 } = recordAt(index) ?? {};
      return `${codec} ${id} ${rawLength} ${Buffer.from(chunkKey(index) ?? []).toString('hex')}`;
    },
    async load(index) {
      const record = recordAt(index);
      if (!record) return new Uint8Array(0);
      const stored = await chunks.get(record.id);
      if (!stored) throw failure('EIO', `the chunk ${record.id} is missing in ${chunks.name}`);
      if (stored.length !== record.storedLength || (chunks.isChecked !== true && idOf(stored) !== record.id))
        throw failure('EIO', `the chunk ${record.id} in ${chunks.name} is not what its id says`);
      return open(stored, record.rawLength, chunkKey(index));
    },
    close: () => Promise.resolve(),
  };
}
