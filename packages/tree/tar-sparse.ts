/**
 * Sparse files of GNU tar: where their data are in the file. There are four formats: the old one with a map in headers,
 * and those of pax, 0.0, 0.1 and 1.0. https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
 */
import { invalid, type ByteReader } from './byte-reader.js';
import { BLOCK, numberAt, type TarHeader } from './tar-header.js';
import { integerOf, type PaxFields } from './tar-pax.js';

/** Data of a file, in bytes from its start. */
export interface TarPart {
  readonly offset: number;
  readonly length: number;
  /** Where they are in the archive, unpacked, in bytes from its start. */
  readonly at: number;
}

export interface Sparse {
  /** Bytes of the file. */
  readonly size: number;
  /** Offset and length in turns. */
  readonly map: readonly number[];
  /** Bytes of the member that are read already: the map itself. */
  readonly read: number;
}

/** Where a block has a part of a map, in bytes, and a mark that more follows. */
interface MapPlace {
  readonly at: number;
  readonly count: number;
  readonly extended: number;
}

/** Parts of a file. */
const MAX_PARTS = 1 << 18;
/** Bytes of a line in the map of format 1.0. */
const MAX_LINE = 20;
/** In the old format: in the header, and in blocks behind it; and the size of the file. */
const [FIRST, MORE]: readonly [MapPlace, MapPlace] = [
  { at: 386, count: 4, extended: 482 },
  { at: 0, count: 21, extended: 504 },
];
const REAL_SIZE = { at: 483, length: 12 };

/**
 * The map of a sparse file; undefined for other files. Reads what of it is behind the header.
 * @throws Error with the code EINVAL if it is damaged
 */
export async function sparseOf(
  header: TarHeader,
  block: Buffer,
  { records, sparse }: PaxFields,
  reader: ByteReader,
): Promise<Sparse | undefined> {
  const number = (...keys: string[]): number | undefined => {
    const key = keys.find((one) => records.has(one));
    return key === undefined ? undefined : integerOf(key, records.get(key) ?? Buffer.alloc(0));
  };
  if (header.kind === 'S') return oldMap(block, reader);
  if (header.kind !== '0' && header.kind !== '7') return undefined;
  const size = number('GNU.sparse.realsize', 'GNU.sparse.size');
  const [major, minor] = [number('GNU.sparse.major'), number('GNU.sparse.minor')];
  if (major !== undefined || minor !== undefined) {
    if (major !== 1 || minor !== 0 || size === undefined)
      throw invalid(`tar: a sparse file of the format ${major}.${minor}, which is not known`);
    return { size, ...(await mapInContent(reader)) };
  }
  if (size === undefined) return undefined;
  const text = records.get('GNU.sparse.map');
  const map = text ? text.toString('latin1').split(',').map((one) => integerOf('GNU.sparse.map', Buffer.from(one, 'latin1'))) : sparse; // prettier-ignore
  if (number('GNU.sparse.numblocks') !== map.length / 2)
    throw invalid('tar: the map of a sparse file has not the number of parts that it says');
  return { size, map, read: 0 };
}

/** In the header, and in blocks behind it that belong to no content. */
async function oldMap(header: Buffer, reader: ByteReader): Promise<Sparse> {
  const map: number[] = [];
  let block = header;
  let { at, count, extended } = FIRST;
  for (;;) {
    for (let index = 0; index < count && block[at + index * 24] !== 0; index++)
      map.push(
        numberAt(block, at + index * 24, 12, 'offset of a sparse part'),
        numberAt(block, at + index * 24 + 12, 12, 'length of a sparse part'),
      );
    if (block[extended] === 0) break;
    if (map.length > 2 * MAX_PARTS) throw tooMany();
    ({ at, count, extended } = MORE);
    block = await reader.read(BLOCK);
    if (block.length < BLOCK) throw invalid('tar: the archive ends within the map of a sparse file');
  }
  return { size: numberAt(header, REAL_SIZE.at, REAL_SIZE.length, 'size of a sparse file'), map, read: 0 };
}

/** Lines with the number of parts, and offset and length of each, filled up to whole blocks. */
async function mapInContent(reader: ByteReader): Promise<Pick<Sparse, 'map' | 'read'>> {
  const start = reader.position;
  let block = Buffer.alloc(0);
  const line = async (): Promise<number> => {
    let end = block.indexOf(0x0a);
    if (end < 0) {
      if (block.length > MAX_LINE) throw invalid('tar: the map of a sparse file has a line that is no number');
      const next = await reader.read(BLOCK);
      if (next.length < BLOCK) throw invalid('tar: the archive ends within the map of a sparse file');
      block = Buffer.concat([block, next]);
      end = block.indexOf(0x0a);
    }
    const number = integerOf('a line of the map of a sparse file', block.subarray(0, Math.max(end, 0)));
    block = block.subarray(end + 1);
    return number;
  };
  const count = await line();
  if (count < 0 || count > MAX_PARTS) throw tooMany();
  const map: number[] = [];
  while (map.length < 2 * count) map.push(await line());
  return { map, read: reader.position - start };
}

const tooMany = (): Error => invalid(`tar: a sparse file of more than ${MAX_PARTS} parts`);

/**
 * The parts of a sparse file with data.
 * @param at where its data start in the archive
 * @param stored bytes that the archive has of it
 * @throws Error with the code EINVAL if they overlap, are not in order, or are not all of the stored bytes
 */
export function partsOf({ size, map }: Sparse, at: number, stored: number): TarPart[] {
  const parts: TarPart[] = [];
  let [end, used] = [0, 0];
  for (let index = 0; index + 1 < map.length; index += 2) {
    const [offset = 0, length = 0] = [map[index], map[index + 1]];
    if (offset < end || length < 0 || offset + length > size)
      throw invalid('tar: the parts of a sparse file are not in order, or beyond its end');
    if (length > 0) parts.push({ offset, length, at: at + used });
    end = offset + length;
    used += length;
  }
  if (used !== stored || parts.length > MAX_PARTS)
    throw invalid(`tar: a sparse file with ${stored} bytes, whose parts have ${used}`);
  return parts;
}
