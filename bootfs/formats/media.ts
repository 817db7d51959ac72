/** Media that firmware boots from. bootfs/media.ts describes what is in them. */
import { bootMedium, MEDIA_FORMATS } from '../media.js';
import type { Format } from './format.js';

export const MEDIA: readonly Format[] = [
  ...MEDIA_FORMATS.map((medium): Format => ({
    name: medium.name,
    summary: medium.summary,
    files: [medium.file],
    image: 'raw',
    ...(medium.isCd ? { drive: 'cdrom' } : {}),
    build: (parts) => bootMedium(medium, parts).step,
  })),
  {
    name: 'usb',
    summary: 'the image of disk, under the name of what it is written to',
    files: ['nodeos.img'],
    image: 'raw',
    drive: 'usb',
    build: (_, made) => made('disk').step,
  },
];
