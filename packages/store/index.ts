/** Disk images as content-addressed, encrypted chunks. */
export { CODEC_NAMES, idOf, type CodecName } from './chunk/seal.js';
export * from './chunks.js';
export * from './images.js';
export {
  DEFAULT_BLOCK,
  decodeRecipe,
  encodeRecipe,
  recipeId,
  type ChunkRecord,
  type Cipher,
  type Recipe,
} from './recipe/public.js';
export * from './recipe/key-file.js';
export {
  folderPlace,
  httpPlace,
  memoryPlace,
  s3Place,
  type Place,
  type PrunablePlace,
  type Stored,
  type WritablePlace,
} from '@nodeos/places';
export * from './tiers/tiers.js';
export { memoryTier } from './tiers/memory.js';
export { diskTier, tooMany, type DiskTierOptions } from './tiers/disk.js';
export { unpackedBlocks, type DeviceOptions, type StoreDevice, type UnpackedBlocks } from './image/device.js';
export { recentlyUsed, type RecentlyUsed } from './recently-used.js';
export { openImage } from './image/open.js';
export { push, type Pushed, type PushOptions } from './image/push.js';
export { commit, type Committed, type CommitOptions } from './image/commit.js';
export * from './care/gc.js';
export * from './care/verify.js';
export * from './care/diff.js';
export * from './care/rekey.js';
export * from './tiers/patient.js';
export * from './open.js';
export { storeReader, openReference, type OpenedImage, type ReaderOptions, type StoreReader } from './reader.js';
export { prometheus, type Stats, type TierCounts } from './stats.js';
export { isSmr, pushSmr } from './smr/device.js';
export { picture, type Picture } from './care/picture.js';
export { registryStore } from './registry/store.js';
export type { PackRepository } from './registry/blobs.js';
export { collectPacks, type CollectedPacks, type CollectPacksOptions } from './registry/collect.js';
export { chunkServer, ownerOf, peersTier, type PeersOptions } from './tiers/peers.js';
