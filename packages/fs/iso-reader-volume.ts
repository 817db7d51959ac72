/** Finds the volume of an ISO 9660 image that says most about its files: Rock Ridge, then Joliet, then plain names. */
import type { Parsing } from '@nodeos/block';
import { DESCRIPTOR, JOLIET_ESCAPES, SECTOR, STANDARD, SYSTEM_AREA } from './iso-format.js';
import { fieldsOf, ownRecord, recordOf, type Disk, type Field } from './iso-reader-records.js';
import { isRockRidge } from './iso-reader-rock-ridge.js';
import type { Place } from './image.js';

export interface ReadableVolume extends Disk {
  readonly names: 'rock ridge' | 'joliet' | 'plain';
  readonly label: string;
  /** The extent of the root folder. */
  readonly root: Place;
  /** Bytes before the system use fields in each record. */
  readonly skip: number;
}

const MAX_DESCRIPTORS = 64;
const BLOCK_SIZES: readonly number[] = [512, 1024, 2048];
const LABEL = { at: 40, length: 32 };

/** @throws Error with the code EINVAL */
export async function chooseVolume(input: Parsing): Promise<ReadableVolume> {
  const descriptors = await readDescriptors(input);
  const primary = descriptors.find((bytes) => bytes[0] === DESCRIPTOR.primary);
  const joliet = descriptors.find(isJoliet);
  if (!primary) throw input.formatError('there is no primary volume');
  const plain = volumeOf(input, primary, 'plain');
  const rockRidge = await withRockRidge(plain);
  return rockRidge ?? (joliet ? volumeOf(input, joliet, 'joliet') : plain);
}

async function readDescriptors(input: Parsing): Promise<Buffer[]> {
  const found: Buffer[] = [];
  for (let index = 0; index < MAX_DESCRIPTORS; index++) {
    const bytes = await input.bytes(SYSTEM_AREA + index * SECTOR, SECTOR, 'a volume descriptor');
    if (bytes.toString('latin1', 1, 1 + STANDARD.length) !== STANDARD)
      throw input.formatError(index === 0 ? 'this is no ISO 9660 image' : 'the list of volume descriptors has no end');
    if (bytes[0] === DESCRIPTOR.terminator) return found;
    found.push(bytes);
  }
  throw input.formatError(`more than ${MAX_DESCRIPTORS} volume descriptors`);
}

const isJoliet = (bytes: Buffer): boolean =>
  bytes[0] === DESCRIPTOR.supplementary && JOLIET_ESCAPES.includes(bytes.toString('latin1', 88, 91));

function volumeOf(input: Parsing, bytes: Buffer, names: 'joliet' | 'plain'): ReadableVolume {
  const block = bytes.readUInt16LE(128);
  if (!BLOCK_SIZES.includes(block)) throw input.formatError(`blocks of ${block} bytes`);
  const label = Buffer.from(bytes.subarray(LABEL.at, LABEL.at + LABEL.length));
  const text = names === 'joliet' ? label.swap16().toString('utf16le') : label.toString('latin1');
  const { place } = recordOf({ input, block }, bytes.subarray(156, 190), 'the root');
  return { input, block, names, root: place, skip: 0, label: text.replace(/[ \0]+$/, '') };
}

/** @returns undefined if the root does not say that there is Rock Ridge */
async function withRockRidge(volume: ReadableVolume): Promise<ReadableVolume | undefined> {
  const { rest } = await ownRecord(volume, volume.root.offset, 'the root');
  const fields = await fieldsOf(volume, rest, 0, 'the root');
  const skip = skipOf(fields[0]);
  return skip === undefined || !isRockRidge(fields) ? undefined : { ...volume, names: 'rock ridge', skip };
}

/** The `SP` field, which is the first one of the root. */
const skipOf = (field: Field | undefined): number | undefined =>
  field?.signature === 'SP' && field.data.length >= 3 && field.data.readUInt16BE(0) === 0xbeef
    ? field.data.readUInt8(2)
    : undefined;
