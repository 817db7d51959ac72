/** Makes a new image of another one and of the changes in an overlay file. Only changed blocks are read and cut. */
import { isZero, overlay, withClose, type BlockBackend } from '@nodeos/block';
import { sealer } from '../chunk/seal.js';
import type { Image, WritableImageStore } from '../images.js';
import type { Keys } from '../recipe/key-file.js';
import { publish, recordOf, saltOf, uploader, type Pushed, type SealedRecord } from './push.js';

export interface CommitOptions {
  /** The keys of the tenant; needed if the image is encrypted. */
  readonly keys?: Keys | undefined;
  readonly progress?: (done: number, size: number) => void;
  readonly signal?: AbortSignal;
}

export interface Committed extends Pushed {
  /** Blocks that differ from those of the image. */
  readonly changedBlocks: number;
}

/**
 * Publishes the image with the changes as `name`. The overlay file stays as it is.
 * @param device the image, opened; it stays open
 * @throws NodeosError without a salt for an encrypted image; Error with the code EBUSY if the overlay is in use, EINVAL
 * if it is of another image or damaged
 */
export async function commit(
  { image, device, path }: { readonly image: Image; readonly device: BlockBackend; readonly path: string },
  store: WritableImageStore,
  name: string,
  { keys, progress, signal }: CommitOptions = {},
): Promise<Committed> {
  const { recipe } = image;
  const { size, blockSize, codec, records, filesystem } = recipe;
  const isEncrypted = recipe.cipher !== 'none';
  const base = probe(device);
  const changed = await overlay(base.device, path, { identity: image.id });
  try {
    const seal = await sealer(codec, isEncrypted ? saltOf(keys) : undefined);
    const uploads = uploader(store.chunks);
    const old = new Map(records.map((record, number) => [record.index, { ...record, key: image.keys?.[number] }]));
    const made: SealedRecord[] = [];
    let changedBlocks = 0;
    const block = Buffer.from(new ArrayBuffer(blockSize));
    for (let index = 0; index * blockSize < size; index++) {
      signal?.throwIfAborted();
      const bytes = block.subarray(0, Math.min(blockSize, size - index * blockSize));
      const kept = old.get(index);
      if (!(await base.differs(changed, bytes, index * blockSize))) {
        if (kept) made.push(kept);
        continue;
      }
      changedBlocks++;
      const sealed = isZero(bytes) ? undefined : await seal(bytes);
      if (sealed) {
        await uploads.add(sealed);
        made.push(recordOf(index, sealed));
      }
      progress?.(index * blockSize + bytes.length, size);
    }
    await uploads.done();
    const draft = { size, blockSize, codec, filesystem, keys: isEncrypted ? keys : undefined, records: made };
    return { ...(await publish(store, name, draft, uploads)), changedBlocks };
  } finally {
    await changed.close();
  }
}

interface Probe {
  readonly device: BlockBackend;
  /** Fills `into` from the overlay, if it has any of these bytes itself. */
  differs(over: BlockBackend, into: Uint8Array, offset: number): Promise<boolean>;
}

/**
 * What the overlay asks its base for is what it does not have itself. So the first read of a block goes to a base that
 * only counts; a second one fetches what the overlay lacks of a block that has changed in part.
 */
function probe(inner: BlockBackend): Probe {
  let counted = 0;
  let isCounting = false;
  const device: BlockBackend = {
    size: inner.size,
    read(into, offset) {
      if (!isCounting) return inner.read(into, offset);
      counted += into.length;
    },
    close: () => undefined,
  };
  return {
    device: withClose(device, () => undefined),
    async differs(over, into, offset) {
      counted = 0;
      isCounting = true;
      await Promise.resolve(over.read(into, offset)).finally(() => (isCounting = false));
      if (counted === into.length) return false;
      if (counted > 0) await over.read(into, offset);
      return true;
    },
  };
}
