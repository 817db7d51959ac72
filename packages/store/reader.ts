/**
 * Images by reference, through tiers: memory, a folder on disk, other hosts, and the store itself. All images of a
 * reader share the tiers.
 */
import type { BlockBackend } from '@nodeos/block';
import type { ChunkStore } from './chunks.js';
import type { DeviceOptions, StoreDevice } from './image/device.js';
import { sourceOf } from './image/open.js';
import { storeDevice, unpackedBlocks } from './image/device.js';
import { findImage, type Image, type ImageStore } from './images.js';
import { isFolder, openStore, parseReference } from './open.js';
import { isSmr, openSmr } from './smr/device.js';
import { counting, type Stats } from './stats.js';
import { diskTier } from './tiers/disk.js';
import { memoryTier } from './tiers/memory.js';
import { patient } from './tiers/patient.js';
import { shared, tiered, type Tier, type TierEvent } from './tiers/tiers.js';

export interface ReaderOptions extends Omit<DeviceOptions, 'blocks'> {
  /** Bytes of unpacked blocks to keep, of all images together. Default 64 MiB. */
  readonly memory?: number;
  /** The tenant's key, for images that are encrypted. */
  readonly tenant?: Uint8Array | undefined;
  /** A folder for chunks, which other processes may use too. Default: none. */
  readonly cache?: { readonly folder: string; readonly most: number } | undefined;
  /** A tier between the disk and the store: other hosts. */
  readonly peers?: Tier | undefined;
  /** Bytes of chunks in memory, as they are stored. Default 32 MiB. */
  readonly chunkMemory?: number;
  /** Milliseconds for which a store that does not answer is asked again. Default 60 s. */
  readonly patience?: number;
  readonly onEvent?: (event: TierEvent) => void;
  /** Told of a condemned chunk that was read, which stops the collection. */
  readonly onRescued?: (id: string) => void;
}

export interface OpenedImage {
  readonly device: StoreDevice;
  /** Undefined for an image of stream-my-root. */
  readonly image: Image | undefined;
  readonly store: ImageStore | undefined;
}

interface OpenedStore {
  readonly store: ImageStore;
  readonly chunks: ChunkStore;
  /** Without other hosts. */
  readonly local: ChunkStore;
}

export interface StoreReader {
  /** @param text `STORE:NAME`, or `smr:RECIPE`. @throws UsageError, NodeosError */
  open(text: string, options?: DeviceOptions): Promise<OpenedImage>;
  readonly stats: Stats;
  /** What other hosts are answered with: chunks of the stores that are open. */
  readonly local: Pick<ChunkStore, 'get'>;
  /** Closes the stores and the tiers. Devices are closed by their owners, before. */
  close(): Promise<void>;
}

export async function storeReader(options: ReaderOptions = {}): Promise<StoreReader> {
  const { tenant, cache, peers, memory, chunkMemory = 32 << 20, patience, onEvent, onRescued, ...more } = options;
  const deviceOptions: DeviceOptions = { ...more, blocks: unpackedBlocks(memory) };
  const stats = counting();
  const inMemory = memoryTier(chunkMemory);
  const nearTiers = [inMemory, ...(cache ? [await diskTier(cache)] : [])];
  const stores = new Map<string, OpenedStore>();
  const note = (event: TierEvent): void => {
    stats.count(event);
    onEvent?.(event);
  };

  function storeAt(place: string): OpenedStore {
    const known = stores.get(place);
    if (known) return known;
    const store = openStore(place, onRescued);
    // Of files of this machine, the kernel keeps in memory what is read.
    const near = nearTiers.filter((tier) => tier !== inMemory || !isFolder(place));
    // What other hosts ask for and what is read here share their requests to the store.
    const chunks = { ...store.chunks, get: shared((id) => store.chunks.get(id)) };
    const local = tiered([...near, chunks], { onEvent: note });
    const all = peers ? tiered([...near, peers, chunks], { onEvent: note }) : local;
    const opened = { store, local, chunks: patient(all, patience === undefined ? {} : { patience }) };
    stores.set(place, opened);
    return opened;
  }

  return {
    stats,
    local: {
      async get(id) {
        for (const { local } of stores.values()) {
          const found = await local.get(id);
          if (found) return found;
        }
        return undefined;
      },
    },
    async open(text, more) {
      const settings = { ...deviceOptions, ...more };
      if (isSmr(text)) return { device: await openSmr(text, settings), image: undefined, store: undefined };
      const { store: place, name } = parseReference(text);
      const { store, chunks } = storeAt(place);
      const image = await findImage(store, name, tenant);
      const source = await sourceOf(image, chunks);
      const load = (index: number): Promise<Uint8Array> => stats.during(() => source.load(index));
      return { image, store, device: storeDevice({ ...source, load }, settings) };
    },
    async close() {
      for (const { store } of stores.values()) await store.close();
      for (const tier of nearTiers) await tier.close?.();
    },
  };
}

/** A single image, whose `close` closes its store too. */
export async function openReference(text: string, options: ReaderOptions = {}): Promise<BlockBackend & StoreDevice> {
  const reader = await storeReader(options);
  try {
    const { device } = await reader.open(text);
    return {
      ...device,
      close: async () => {
        await device.close();
        await reader.close();
      },
    };
  } catch (error) {
    await reader.close();
    throw error;
  }
}
