/**
 * A disk that zstd compressed in frames. Each frame is unpacked separately.
 * https://github.com/facebook/zstd/blob/dev/doc/zstd_compression_format.md
 * https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md
 */
import { failure, type BlockBackend } from './backend.js';
import { chunked, type Chunk, type ChunkedOptions, type ChunkFormat } from './chunked.js';
import { parsing, parsingBytes, uint64LE, type Parsing } from './parsing.js';

const FRAME = 0xfd2fb528;
/** One of the sixteen magic numbers of skippable frames, which hold other data. */
const isSkippable = (magic: number): boolean => (magic & 0xfffffff0) >>> 0 === 0x184d2a50;
const SEEK_TABLE_FRAME = 0x184d2a5e;
const SEEK_TABLE = 0x8f92eab1;
const FOOTER = 9;
const MAX_FRAMES = 1 << 20;
/** Largest frame header in bytes. */
const MAX_HEADER = 18;

/**
 * Opens a file that zstd compressed, read-only. A seek table locates the frames if there is one. Otherwise the headers
 * of all blocks are read once. `close` closes `inner`. Needs the package `zstddec`.
 * @throws Error with the code EINVAL if it is not a zstd file or is damaged; EFBIG if a frame is too large; ENOTSUP
 * without the package, for frames that do not state their length, or that need a dictionary. `inner` stays open in
 * these cases
 */
export async function zstd(inner: BlockBackend, options: ChunkedOptions = {}): Promise<BlockBackend> {
  const input = parsing(inner, 'zstd');
  const unpack = await zstdUnpacker();
  const chunks = (await chunksOfSeekTable(input)) ?? (await chunksByScanning(input));
  const format: ChunkFormat = {
    name: 'zstd: a frame',
    chunks,
    unpack: async (chunk) => {
      const bytes = unpack(await input.bytes(chunk.at, chunk.stored, 'a frame'), chunk.length);
      if (bytes.length === chunk.length) return bytes;
      throw failure('EIO', `zstd: the frame at byte ${chunk.at} is damaged`);
    },
    close: () => inner.close(),
  };
  return chunked(format, options);
}

/** @returns a function that unpacks a frame and verifies its checksum; a damaged frame gives another number of bytes */
export async function zstdUnpacker(): Promise<(frame: Uint8Array, length: number) => Uint8Array> {
  const { ZSTDDecoder } = await import('zstddec').catch((error: unknown) => {
    throw failure('ENOTSUP', 'zstd needs a package that is not here: npm install zstddec', error);
  });
  const decoder = new ZSTDDecoder();
  await decoder.init();
  return (frame, length) => decoder.decode(frame, length);
}

/** @returns undefined if there is no seek table */
async function chunksOfSeekTable(input: Parsing): Promise<Chunk[] | undefined> {
  if (input.size < FOOTER + 8) return undefined;
  const footer = await input.bytes(input.size - FOOTER, FOOTER, 'the seek table');
  if (footer.readUInt32LE(5) !== SEEK_TABLE) return undefined;
  const count = footer.readUInt32LE(0);
  const entry = (footer[4] ?? 0) & 0x80 ? 12 : 8;
  if (count > MAX_FRAMES) throw input.formatError(`${count} frames; ${MAX_FRAMES} are the most`);
  const length = count * entry + FOOTER;
  const start = input.size - length - 8;
  const table = await input.bytes(start, length + 8, 'the seek table');
  if (table.readUInt32LE(0) !== SEEK_TABLE_FRAME || table.readUInt32LE(4) !== length)
    throw input.formatError('a seek table of another length than it says');
  const chunks: Chunk[] = [];
  let [at, offset] = [0, 0];
  for (let index = 0; index < count; index++) {
    const [stored, size] = [table.readUInt32LE(8 + index * entry), table.readUInt32LE(12 + index * entry)];
    if (size > 0) chunks.push({ offset, length: size, at, stored });
    at += stored;
    offset += size;
  }
  if (at !== start) throw input.formatError(`the seek table is about ${at} bytes, and stands behind ${start}`);
  return chunks;
}

async function chunksByScanning(input: Parsing): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  let offset = 0;
  for (let at = 0; at < input.size;) {
    const start = at;
    const head = await input.bytes(at, Math.min(MAX_HEADER, input.size - at), 'a frame');
    if (head.length < 8) throw input.formatError(`${head.length} bytes at the end that are no frame`);
    const magic = head.readUInt32LE(0);
    if (isSkippable(magic)) {
      at += 8 + head.readUInt32LE(4);
      continue;
    }
    if (magic !== FRAME) throw input.formatError(at === 0 ? 'this is not zstd’s' : `no frame at byte ${at}`);
    const { headerLength, length, hasChecksum } = frameOf(head, at, input);
    if (length === undefined)
      throw failure(
        'ENOTSUP',
        `zstd: the frame at byte ${at} does not say how long it is, as of what came through a pipe`,
      );
    at = await endOfBlocks(input, at + headerLength, hasChecksum);
    if (chunks.length === MAX_FRAMES) throw input.formatError(`more than ${MAX_FRAMES} frames`);
    if (length > 0) chunks.push({ offset, length, at: start, stored: at - start });
    offset += length;
    if (at > input.size) throw input.formatError('it ends within a frame');
  }
  return chunks;
}

/** The end of the frame at the start of `bytes`. @throws Error with the code EINVAL if there is no frame */
export async function frameEnd(bytes: Buffer): Promise<number> {
  const input = parsingBytes(bytes, 'zstd');
  if (bytes.length < 8 || bytes.readUInt32LE(0) !== FRAME) throw input.formatError('no frame');
  const { headerLength, hasChecksum } = frameOf(bytes.subarray(0, MAX_HEADER), 0, input);
  return endOfBlocks(input, headerLength, hasChecksum);
}

interface FrameHeader {
  readonly headerLength: number;
  /** Bytes of the unpacked frame; undefined if the header does not state them. */
  readonly length: number | undefined;
  readonly hasChecksum: boolean;
}

/** Decodes a frame header. Its length field has 0 to 8 bytes. */
function frameOf(head: Buffer, at: number, { formatError }: Parsing): FrameHeader {
  const flags = head[4] ?? 0;
  const isSingle = (flags & 0x20) !== 0;
  if ((flags & 0x03) !== 0) throw failure('ENOTSUP', `zstd: the frame at byte ${at} needs a dictionary`);
  const kind = flags >>> 6;
  const hasChecksum = (flags & 0x04) !== 0;
  const field = 5 + (isSingle ? 0 : 1);
  if (kind === 0 && !isSingle) return { headerLength: field, length: undefined, hasChecksum };
  const width = kind === 0 ? 1 : 2 ** kind;
  if (head.length < field + width) throw formatError('it ends within the header of a frame');
  const length = width === 8 ? uint64LE(head, field) : head.readUIntLE(field, width) + (width === 2 ? 256 : 0);
  return { headerLength: field + width, length, hasChecksum };
}

/**
 * Finds the end of the frame. Each block starts with three bytes: whether it is the last one, its type and its length.
 */
async function endOfBlocks(input: Parsing, start: number, hasChecksum: boolean): Promise<number> {
  for (let at = start; ;) {
    const header = (await input.bytes(at, 3, 'a block')).readUIntLE(0, 3);
    const isRun = ((header >>> 1) & 3) === 1;
    at += 3 + (isRun ? 1 : header >>> 3);
    if (header & 1) return at + (hasChecksum ? 4 : 0);
  }
}
