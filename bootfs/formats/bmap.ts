/**
 * Block maps: which blocks of an image have to be written, with a checksum of each range. The format is that of bmap-tools,
 * version 2.0. https://github.com/yoctoproject/bmaptool/blob/main/src/bmaptool/BmapCreate.py
 *
 * All blocks are mapped, zeros too: bmaptool leaves the others as they are, and on a used stick that is not zeros. Empty
 * entries of a GPT, free clusters of FAT and unused inodes of ext4 must be zero.
 */
import { createHash } from 'node:crypto';
import { pieces, type BlockBackend } from '@nodeos/block';

/** Both in bytes; a range is a multiple of a block. */
const BLOCK = 4096;
const RANGE = 4 << 20;
const NO_CHECKSUM = '0'.repeat(64);

const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');

/**
 * Describes an image.
 * @returns the XML text
 * @throws the errors of the image; the signal's reason
 */
export async function blockMap(image: BlockBackend, signal?: AbortSignal): Promise<string> {
  const ranges: string[] = [];
  const buffer = Buffer.alloc(RANGE);
  for (const [offset, length] of pieces(0, image.size, RANGE)) {
    signal?.throwIfAborted();
    const bytes = buffer.subarray(0, length);
    await image.read(bytes, offset);
    const [first, last] = [offset / BLOCK, Math.ceil((offset + length) / BLOCK) - 1];
    const blocks = first === last ? String(first) : `${first}-${last}`;
    ranges.push(`        <Range chksum="${sha256(bytes)}"> ${blocks} </Range>`);
  }
  const textWith = (checksum: string): string => `<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> ${image.size} </ImageSize>
    <BlockSize> ${BLOCK} </BlockSize>
    <BlocksCount> ${Math.ceil(image.size / BLOCK)} </BlocksCount>
    <MappedBlocksCount> ${Math.ceil(image.size / BLOCK)} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> ${checksum} </BmapFileChecksum>
    <BlockMap>
${ranges.join('\n')}
    </BlockMap>
</bmap>
`;
  // The checksum is that of the text with zeros in its place.
  return textWith(sha256(textWith(NO_CHECKSUM)));
}
