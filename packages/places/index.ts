/** Files by path: in a folder, on a web server, in a bucket, in memory. Each kind is a row. */
import { fileURLToPath } from 'node:url';
import { folderPlace } from './folder.js';
import { httpPlace } from './http.js';
import { s3Place } from './s3.js';
import type { Place, WritablePlace } from './place.js';

export * from './place.js';
export { folderPlace, type FolderOptions } from './folder.js';
export { httpPlace } from './http.js';
export { memoryPlace } from './memory.js';
export { s3Place } from './s3.js';

export interface PlaceKind<P extends Place = WritablePlace> {
  readonly protocol: string;
  /** For messages and help texts. */
  readonly example: string;
  readonly open: (url: URL) => P;
}

export const PLACES: readonly PlaceKind[] = [
  { protocol: 'file:', example: '/srv/FOLDER', open: (url) => folderPlace(fileURLToPath(url)) },
  { protocol: 'https:', example: 'https://HOST/PATH', open: httpPlace },
  { protocol: 'http:', example: 'http://HOST/PATH', open: httpPlace },
  { protocol: 's3:', example: 's3://BUCKET/PREFIX', open: s3Place },
];
