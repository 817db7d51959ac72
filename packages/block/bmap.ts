/**
 * Block maps: which blocks of an image have data, with a checksum of each range. The format is that of bmap-tools,
 * version 2.0. https://github.com/yoctoproject/bmaptool/blob/main/docs/man1/bmaptool.1
 */
import { createHash } from 'node:crypto';
import type { BlockBackend } from './backend.js';
import { partsOf, splitPart, isZero } from './parts.js';
import { pieces } from './sizes.js';

/** Bytes. */
const BLOCK = 4096;
const PIECE = 1 << 20;
const NO_CHECKSUM = '0'.repeat(64);

/** Blocks `first` to `last`, counted from 0, both included. */
interface Range {
  readonly first: number;
  readonly last: number;
  readonly checksum: string;
}

/**
 * Describes an image. What is zero is not mapped, whether it is a hole or not, so equal contents have equal maps.
 * @returns the XML text
 * @throws the errors of the image; the signal's reason
 */
export async function blockMap(image: BlockBackend, signal?: AbortSignal): Promise<string> {
  const ranges = await mappedRanges(image, signal);
  const mapped = ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  const textWith = (checksum: string): string =>
    [
      '<?xml version="1.0" ?>',
      '<bmap version="2.0">',
      `    <ImageSize> ${image.size} </ImageSize>`,
      `    <BlockSize> ${BLOCK} </BlockSize>`,
      `    <BlocksCount> ${Math.ceil(image.size / BLOCK)} </BlocksCount>`,
      `    <MappedBlocksCount> ${mapped} </MappedBlocksCount>`,
      '    <ChecksumType> sha256 </ChecksumType>',
      `    <BmapFileChecksum> ${checksum} </BmapFileChecksum>`,
      '    <BlockMap>',
      ...ranges.map(
        ({ first, last, checksum: own }) =>
          `        <Range chksum="${own}"> ${first === last ? first : `${first}-${last}`} </Range>`,
      ),
      '    </BlockMap>',
      '</bmap>',
      '',
    ].join('\n');
  // The checksum is that of the text with zeros in its place.
  return textWith(createHash('sha256').update(textWith(NO_CHECKSUM)).digest('hex'));
}

async function mappedRanges(image: BlockBackend, signal: AbortSignal | undefined): Promise<Range[]> {
  const ranges: Range[] = [];
  const buffer = Buffer.alloc(PIECE);
  let open: { first: number; next: number; hash: ReturnType<typeof createHash> } | undefined;
  const close = (): void => {
    if (open) ranges.push({ first: open.first, last: open.next - 1, checksum: open.hash.digest('hex') });
    open = undefined;
  };
  for await (const part of partsOf(image, BLOCK))
    for (const { offset, length, zero } of splitPart(part, part.zero ? part.length : PIECE)) {
      signal?.throwIfAborted();
      if (zero) {
        close();
        continue;
      }
      const bytes = buffer.subarray(0, length);
      await image.read(bytes, offset);
      for (const [at, count] of pieces(0, length, BLOCK)) {
        const block = bytes.subarray(at, at + count);
        if (isZero(block)) {
          close();
          continue;
        }
        const number = (offset + at) / BLOCK;
        open ??= { first: number, next: number, hash: createHash('sha256') };
        open.hash.update(block);
        open.next = number + 1;
      }
    }
  close();
  return ranges;
}
