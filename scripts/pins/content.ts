/** Which Node.js an application for a single file brings along: the version of a package is the application's. */
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { NodeosError } from '@nodeos/build';

/** Node.js has the address of its own headers in it (`process.release.headersUrl`). */
const RELEASE = /\/v(\d+\.\d+\.\d+)\/node-v\1-headers\.tar\.gz/;
const LONGEST = 256;

/** @param path of an npm package's tarball @throws NodeosError if there is no Node.js in it */
export async function nodeVersionIn(path: string): Promise<string> {
  let found: string | undefined;
  let rest = '';
  await pipeline(createReadStream(path), createGunzip(), async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      const text = rest + chunk.toString('latin1');
      found ??= RELEASE.exec(text)?.[1];
      rest = text.slice(-LONGEST);
    }
  });
  if (found !== undefined) return found;
  throw new NodeosError(`there is no Node.js in ${path}: the version of what the package contains is not known`);
}
