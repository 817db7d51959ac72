/** A remote cache in anything that keeps files by path: `STEP/TARGET/KEY/manifest.json` and `…/SHA256.br`. */
import { createReadStream } from 'node:fs';
import type { OutputId, RemoteCache } from '@nodeos/engine';
import type { WritablePlace } from '@nodeos/places';

export function placeCache(place: WritablePlace): RemoteCache {
  return {
    name: place.name,
    manifest: (id, signal) => place.open(`${folderOf(id)}/manifest.json`, signal),
    contents: (id, digest, signal) => place.open(`${folderOf(id)}/${digest}.br`, signal),
    async push(id, { manifest, contents }, signal) {
      const { path, size, sha256 } = contents;
      await place.put(`${folderOf(id)}/${sha256}.br`, { size, open: () => createReadStream(path) }, signal);
      // Whoever finds the manifest finds the contents, also after a crash.
      await place.sync?.();
      await place.put(`${folderOf(id)}/manifest.json`, manifest, signal);
      await place.sync?.();
    },
  };
}

const folderOf = ({ step, target, key }: OutputId): string => `${step}/${target}/${key}`;
