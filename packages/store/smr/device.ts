/** Images of stream-my-root: read as devices, and written. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { messageOf, NodeosError, parseSize, replaceFile, UsageError } from '@nodeos/base';
import { failure, isZero, type BlockBackend } from '@nodeos/block';
import { folderPlace, httpPlace, type Place } from '@nodeos/places';
import { writeFile } from 'node:fs/promises';
import { storedBound, trimmedLength } from '../chunk/seal.js';
import { zstdDecoder, zstdEncoder } from '../chunk/zstd.js';
import { blocksOf } from '../image/blocks.js';
import { storeDevice, type DeviceOptions, type StoreDevice } from '../image/device.js';
import { decodeSmr, encodeSmr, SMR_BLOCK } from './recipe.js';

const PREFIX = 'smr:';
export const isSmr = (text: string): boolean => text.startsWith(PREFIX);

interface SmrReference {
  readonly recipe: string;
  readonly blocks: string;
  readonly size: number | undefined;
}

/** `smr:RECIPE[?blocks=FOLDER|URL][&size=SIZE]`. Default: `smr/` beside the folder of the recipe. */
function parseSmr(text: string): SmrReference {
  const [, recipe = '', query = ''] = /^smr:([^?]+)\??(.*)$/s.exec(text) ?? [];
  if (recipe === '') throw new UsageError(`${text}: expected smr:RECIPE?blocks=FOLDER`);
  const parameters = new URLSearchParams(query);
  const size = parameters.get('size');
  return {
    recipe,
    blocks: parameters.get('blocks') ?? join(dirname(recipe), '..', 'smr'),
    size: size === null ? undefined : parseSize(size, 'size'),
  };
}

const placeOf = (blocks: string): Place =>
  /^https?:\/\//i.test(blocks) ? httpPlace(new URL(blocks)) : folderPlace(resolve(blocks));

/** @throws NodeosError if the recipe cannot be read, or `size` is too small for it */
export async function openSmr(text: string, options: DeviceOptions = {}): Promise<StoreDevice> {
  const reference = parseSmr(text);
  const content = await readFile(reference.recipe, 'utf8').catch((error: unknown) => {
    throw new NodeosError(`cannot read the recipe ${reference.recipe}: ${messageOf(error)}`, { cause: error });
  });
  const { blocks, least } = decodeSmr(content, reference.recipe);
  const size = reference.size ?? least;
  if (size <= least - SMR_BLOCK)
    throw new UsageError(`${text}: a size of ${size}, and its last block ends at ${least}`);
  const place = placeOf(reference.blocks);
  const decode = await zstdDecoder(SMR_BLOCK);
  return storeDevice(
    {
      name: reference.recipe,
      size,
      blockSize: SMR_BLOCK,
      version: createHash('sha256').update(content).digest('hex'),
      lengthOf: (index) => (blocks.has(index) ? Math.min(SMR_BLOCK, size - index * SMR_BLOCK) : 0),
      keyOf: (index) => `smr ${blocks.get(index) ?? ''}`,
      async load(index) {
        const hash = blocks.get(index) ?? '';
        const stored = await place.get(`${hash}.zst`, storedBound(SMR_BLOCK));
        if (!stored) throw failure('EIO', `${hash}.zst is missing in ${place.name}`);
        const block = await decode(stored);
        if (smrHash(block) !== hash) throw failure('EIO', `${hash}.zst in ${place.name} is not what its name says`);
        return block;
      },
      close: async () => place.close?.(),
    },
    options,
  );
}

/** The checksum of a block with the zeros at its end. */
function smrHash(block: Uint8Array): string {
  return createHash('sha256')
    .update(block)
    .update(Buffer.alloc(SMR_BLOCK - block.length))
    .digest('hex');
}

/** @returns how many blocks there are, and how many were not there before */
export async function pushSmr(
  device: BlockBackend,
  text: string,
  progress?: (done: number, size: number) => void,
): Promise<{ readonly blocks: number; readonly newBlocks: number }> {
  const { recipe, blocks } = parseSmr(text);
  const place = placeOf(blocks);
  const encode = await zstdEncoder(3);
  const lines: [number, string][] = [];
  let newBlocks = 0;
  for await (const { index, block } of blocksOf(device, SMR_BLOCK, progress)) {
    if (isZero(block)) continue;
    const hash = smrHash(block);
    lines.push([index, hash]);
    const path = `${hash}.zst`;
    if ((await place.size(path)) !== undefined) continue;
    if (!place.put) throw new UsageError(`${place.name}: nothing can be written there`);
    await place.put(path, await encode(block.subarray(0, trimmedLength(block))));
    newBlocks++;
  }
  await place.sync?.();
  await replaceFile(recipe, (temporary) => writeFile(temporary, encodeSmr(lines)));
  return { blocks: lines.length, newBlocks };
}
