/**
 * A disk that xz compressed in blocks (`xz --block-size=16MiB`). Each block is unpacked separately.
 * https://tukaani.org/xz/xz-file-format.txt
 */
import { crc32 } from 'node:zlib';
import { failure, type BlockBackend } from './backend.js';
import { chunked, type Chunk, type ChunkedOptions, type ChunkFormat } from './chunked.js';
import { parsing, type Parsing } from './parsing.js';
import { roundUp } from './sizes.js';

const MAGIC = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);
const FOOTER_MAGIC = 'YZ';
/** The checksum types that the package verifies: none, CRC-32, CRC-64. */
const CHECKS: ReadonlySet<number> = new Set([0, 1, 4]);
/** Bytes of a stream header, and of a stream footer. */
const ENDS = 12;
const MAX_INDEX = 16 << 20;
const MAX_BLOCKS = 1 << 20;
const MAX_STREAMS = 1 << 16;
const MAX_PADDING = 1 << 20;

/** A block, with the data needed to make a stream of it alone. */
interface Block extends Chunk {
  /** Bytes without the padding to a multiple of 4. */
  readonly unpadded: number;
  /** The two bytes that name the type of the checksum. */
  readonly flags: Buffer;
}

/**
 * Opens a file that xz compressed, read-only. The index at its end locates the blocks. `close` closes `inner`. Needs
 * the package `xz-decompress`.
 * @throws Error with the code EINVAL if it is not an xz file or is damaged; EFBIG if a block is too large, as in a file
 * compressed as a single block; ENOTSUP without the package, or for other types of checksums. `inner` stays open in
 * these cases
 */
export async function xz(inner: BlockBackend, options: ChunkedOptions = {}): Promise<BlockBackend> {
  const input = parsing(inner, 'xz');
  const unpack = await unpacker();
  const blocks = await blocksOf(input);
  const format: ChunkFormat = {
    name: 'xz: a block',
    chunks: blocks,
    unpack: async (chunk) => {
      const block = chunk as Block;
      const bytes = await input.bytes(block.at, block.stored, 'a block');
      return unpack(streamOf(block, bytes), block.length).catch((error: unknown) => {
        throw failure('EIO', `xz: the block at byte ${block.at} is damaged`, error);
      });
    },
    close: () => inner.close(),
  };
  return chunked(format, options);
}

type Unpack = (stream: Uint8Array, length: number) => Promise<Uint8Array>;

async function unpacker(): Promise<Unpack> {
  // A CommonJS module, whose named exports Node.js does not detect.
  const { default: module } = await import('xz-decompress').catch((error: unknown) => {
    throw failure('ENOTSUP', 'xz needs a package that is not here: npm install xz-decompress', error);
  });
  return async (stream, length) => {
    const into = new Uint8Array(length);
    let done = 0;
    // `set` throws if there are more bytes than the index says.
    for await (const bytes of new module.XzReadableStream(new Blob([new Uint8Array(stream)]).stream())) {
      into.set(bytes, done);
      done += bytes.length;
    }
    if (done < length) throw new Error(`${done} bytes of ${length}`);
    return into;
  };
}

/** Reads streams from the last to the first. Zeros may follow a stream as padding. */
async function blocksOf(input: Parsing): Promise<Block[]> {
  const streams: Block[][] = [];
  let count = 0;
  for (let end = await beforePadding(input, input.size); end > 0; end = await beforePadding(input, end)) {
    const { start, blocks } = await streamBefore(input, end);
    count += blocks.length;
    if (streams.length === MAX_STREAMS || count > MAX_BLOCKS)
      throw input.formatError('more streams or blocks than a disk has');
    streams.push(blocks);
    end = start;
  }
  if (streams.length === 0) throw input.formatError('it is empty');
  let offset = 0;
  return streams.reverse().flatMap((blocks) =>
    blocks.map((block) => {
      offset += block.length;
      return { ...block, offset: offset - block.length };
    }),
  );
}

async function beforePadding(input: Parsing, end: number): Promise<number> {
  let at = end;
  while (at >= 4 && (await input.bytes(at - 4, 4, 'the end')).readUInt32LE(0) === 0) {
    at -= 4;
    if (end - at > MAX_PADDING) throw input.formatError('zeros at the end');
  }
  return at;
}

async function streamBefore(input: Parsing, end: number): Promise<{ start: number; blocks: Block[] }> {
  const footer = await input.bytes(end - ENDS, ENDS, 'the end of a stream');
  if (footer.toString('latin1', 10) !== FOOTER_MAGIC) throw input.formatError('this is not xz’s, or it is cut off');
  if (crc32(footer.subarray(4, 10)) !== footer.readUInt32LE(0))
    throw input.formatError('the end of a stream is damaged');
  const flags = footer.subarray(8, 10);
  if (!CHECKS.has(flags[1] ?? 0))
    throw failure('ENOTSUP', 'xz: its checksums are of a kind that is not read here: --check=crc64 is the usual one');
  const length = (footer.readUInt32LE(4) + 1) * 4;
  if (length > MAX_INDEX) throw input.formatError(`an index of ${length} bytes`);
  const index = end - ENDS - length;
  const records = recordsOf(await input.bytes(index, length, 'the index'), input);
  const start = index - records.reduce((sum, { unpadded }) => sum + roundUp(unpadded, 4), 0) - ENDS;
  const header = await input.bytes(start, ENDS, 'the start of a stream');
  if (!header.subarray(0, 6).equals(MAGIC) || !header.subarray(6, 8).equals(flags))
    throw input.formatError(`no stream starts at byte ${start}`);
  let at = start + ENDS;
  const blocks = records.map(({ unpadded, length: size }) => {
    const stored = roundUp(unpadded, 4);
    at += stored;
    return { offset: 0, length: size, at: at - stored, stored, unpadded, flags };
  });
  return { start, blocks: blocks.filter((block) => block.length > 0) };
}

/** The sizes of the blocks: a zero byte, the number of blocks, and two numbers per block. */
function recordsOf(index: Buffer, { formatError }: Parsing): { unpadded: number; length: number }[] {
  const end = index.length - 4;
  if (end < 4 || index[0] !== 0 || crc32(index.subarray(0, end)) !== index.readUInt32LE(end))
    throw formatError('the index is damaged');
  let at = 1;
  const next = (): number => {
    let [value, unit] = [0, 1];
    for (let bytes = 0; bytes < 9 && at < end; bytes++) {
      const byte = index[at++] ?? 0;
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) {
        if (Number.isSafeInteger(value)) return value;
        break;
      }
      unit *= 128;
    }
    throw formatError('the index is damaged');
  };
  const count = next();
  if (count > MAX_BLOCKS) throw formatError(`${count} blocks; ${MAX_BLOCKS} are the most`);
  return Array.from({ length: count }, () => ({ unpadded: next(), length: next() }));
}

/** A stream with this block only: a header, the block, an index of one record, a footer. */
function streamOf({ flags, unpadded, length }: Block, bytes: Buffer): Buffer {
  const record = Buffer.from([0, 1, ...digitsOf(unpadded), ...digitsOf(length)]);
  const index = withSum(Buffer.concat([record, Buffer.alloc(roundUp(record.length, 4) - record.length)]));
  const backward = Buffer.alloc(4);
  backward.writeUInt32LE(index.length / 4 - 1);
  const end = Buffer.concat([backward, flags]);
  return Buffer.concat([MAGIC, withSum(flags), bytes, index, sumOf(end), end, Buffer.from(FOOTER_MAGIC)]);
}

function sumOf(bytes: Buffer): Buffer {
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(bytes));
  return sum;
}
const withSum = (bytes: Buffer): Buffer => Buffer.concat([bytes, sumOf(bytes)]);

/** Seven bits per byte, the lowest first. */
function digitsOf(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 0x80, ...digitsOf(Math.floor(value / 128))];
}
