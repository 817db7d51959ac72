/** The root of a machine in a store: pushed if there is an application, and served from there. */
import { formatSize } from '@nodeos/base';
import { regions } from '@nodeos/block';
import { erofs, GROUP_SLOT, pathGroups } from '@nodeos/fs';
import {
  openWritableStore,
  parseReference,
  push,
  readKeys,
  storeReader,
  type Keys,
  type OpenedImage,
} from '@nodeos/store';
import type { Tree } from '@nodeos/tree';
import { printMessage, type Io } from '../command.js';
import type { RootImage } from '@nodeos/netroot';
import { startRecorder } from './start-list.js';

export interface StoredRoot extends RootImage {
  close(): Promise<void>;
}

/**
 * Opens the image. A start list is used if there is one; otherwise this start makes it, if the store can be written.
 * @param tree of an application, which becomes the image first
 */
export async function openRoot(
  reference: string,
  tree: (() => Promise<Tree>) | undefined,
  io: Io,
): Promise<StoredRoot> {
  const { NODEOS_STORE_KEY: keyFile, NODEOS_STORE_CACHE: folder } = io.env;
  const keys = keyFile ? await readKeys(keyFile) : undefined;
  if (tree) await pushRoot(reference, await tree(), keys, io);
  const reader = await storeReader({
    tenant: keys?.tenant,
    ...(folder && { cache: { folder, most: 10 * 2 ** 30 } }),
  });
  const recorder = startRecorder();
  const opened = await reader.open(reference, { onFirst: recorder.onFirst }).catch(async (error: unknown) => {
    await reader.close();
    throw error;
  });
  const ending = new AbortController();
  void opened.device.fetchAhead(opened.image?.start ?? [], ending.signal);
  return {
    device: opened.device,
    filesystem: filesystemOf(opened),
    async close() {
      ending.abort();
      // Also a store that takes no writes serves.
      if (opened.image?.start.length === 0) await recorder.keep(opened, io).catch(() => undefined);
      await opened.device.close();
      await reader.close();
    },
  };
}

/** A word for the kernel's command line, from a recipe that others may have made. */
function filesystemOf({ image }: OpenedImage): string {
  const name = image?.recipe.filesystem ?? '';
  return /^[a-z0-9]{1,16}$/.test(name) ? name : 'erofs';
}

async function pushRoot(reference: string, tree: Tree, keys: Keys | undefined, io: Io): Promise<void> {
  const { store: place, name } = parseReference(reference);
  const { size, regions: parts } = await erofs(tree, { tails: 'folders', place: pathGroups }); // the next version shares what it does not change
  const device = regions(parts, { size });
  const store = openWritableStore(place);
  try {
    const { chunks, newChunks, newBytes } = await push(device, store, name, {
      keys,
      blockSize: GROUP_SLOT,
      filesystem: 'erofs',
      signal: io.signal,
    });
    printMessage(io, `${reference}: ${newChunks} of ${chunks} chunks are new, ${formatSize(newBytes)}`);
  } finally {
    await device.close();
    await store.close();
  }
}
