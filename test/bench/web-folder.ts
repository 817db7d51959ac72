/** A web server of a folder, behind a slow link: where a store is far away. */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { slowLink, type LinkOptions, type SlowLink } from './link.js';

/** Milliseconds there and back, and 100 Mbit/s. */
export const SLOW = { roundTrip: 20, bytesPerSecond: 100e6 / 8 };

export interface FarFolder extends Pick<SlowLink, 'takeBytes' | 'close'> {
  readonly url: string;
  /** Whether start lists are there. They are at first. */
  showStarts(isShown: boolean): void;
}

export async function farFolder(folder: string, options: Omit<LinkOptions, 'port'>): Promise<FarFolder> {
  let hasStarts = true;
  const server = createServer((request, answer) => {
    const path = decodeURIComponent(request.url ?? '').slice(1);
    const found =
      hasStarts || !path.startsWith('starts/') ? stat(join(folder, path)) : Promise.reject(new Error('hidden'));
    found.then(
      ({ size }) => {
        answer.writeHead(200, { 'content-length': size });
        createReadStream(join(folder, path)).pipe(answer);
      },
      () => answer.writeHead(404).end(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const link = await slowLink({ port: (server.address() as AddressInfo).port, ...options });
  return {
    url: `http://127.0.0.1:${link.port}`,
    takeBytes: () => link.takeBytes(),
    showStarts: (isShown) => void (hasStarts = isShown),
    async close() {
      await link.close();
      server.close();
      server.closeAllConnections();
    },
  };
}
