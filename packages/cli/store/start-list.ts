/** Start lists: what is read of an image in the first minute, recorded and kept with it. */
import { UsageError } from '@nodeos/base';
import { encodeStartList, type OpenedImage, type WritableImageStore } from '@nodeos/store';
import { printMessage, type Io } from '../command.js';

/** Milliseconds after the first read that count as the start. */
const START = 60_000;

export interface StartRecorder {
  /** For each block that is read for the first time. */
  readonly onFirst: (index: number) => void;
  /**
   * Keeps what was read, in its order, if anything was.
   * @throws UsageError if the store keeps no start list of this image; errors of the store
   */
  keep(opened: OpenedImage, io: Io): Promise<void>;
}

export function startRecorder(): StartRecorder {
  const blocks: number[] = [];
  let began: number | undefined;
  return {
    onFirst(index) {
      began ??= performance.now();
      if (performance.now() - began < START) blocks.push(index);
    },
    async keep(opened, io) {
      const { image, store } = keeperOf(opened);
      if (blocks.length === 0) return;
      await store.putStartList(image.id, encodeStartList(blocks));
      printMessage(io, `${image.name}: the start list has ${blocks.length} of ${image.recipe.records.length} blocks`);
    },
  };
}

/** What keeps the start list of an image. @throws UsageError if nothing does */
export function keeperOf({ image, store }: OpenedImage): {
  readonly image: NonNullable<OpenedImage['image']>;
  readonly store: WritableImageStore;
} {
  if (!image || !store) throw new UsageError('an image of stream-my-root has no start list');
  if ('putStartList' in store) return { image, store: store as WritableImageStore };
  throw new UsageError(`${store.name}: nothing can be written there, so no start list can be kept`, {
    hint: 'record it where the files are: in the folder, or in the bucket',
  });
}
