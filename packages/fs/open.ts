/** Opens a filesystem in an image, whatever it is. */
import { failure, type BlockBackend } from '@nodeos/block';
import { readErofs } from './erofs-reader.js';
import { readFat } from './fat-reader.js';
import type { ImageReader } from './image.js';
import { readIso } from './iso-reader.js';

/** What the start of a device looks like. The first format that matches counts. */
const FORMATS: readonly {
  readonly name: string;
  /** Bytes at an offset. */
  readonly magic: readonly (readonly [offset: number, bytes: string])[];
  readonly read: (device: BlockBackend) => Promise<ImageReader>;
}[] = [
  { name: 'EROFS', magic: [[1024, '\xe2\xe1\xf5\xe0']], read: readErofs },
  { name: 'ISO 9660', magic: [[32769, 'CD001']], read: readIso },
  {
    name: 'FAT',
    magic: [
      [510, '\x55\xaa'],
      [54, 'FAT'],
    ],
    read: readFat,
  },
  {
    name: 'FAT',
    magic: [
      [510, '\x55\xaa'],
      [82, 'FAT32'],
    ],
    read: readFat,
  },
];

/** @throws Error with the code EINVAL if there is no filesystem that is known, or it is damaged */
export async function readImage(device: BlockBackend): Promise<ImageReader> {
  const start = Buffer.alloc(Math.min(device.size, 32768 + 8));
  await device.read(start, 0);
  const format = FORMATS.find(({ magic }) =>
    magic.every(([offset, bytes]) => start.toString('latin1', offset, offset + bytes.length) === bytes),
  );
  if (format) return format.read(device);
  throw failure(
    'EINVAL',
    `there is no filesystem here that is known (${[...new Set(FORMATS.map(({ name }) => name))].join(', ')})`,
  );
}
