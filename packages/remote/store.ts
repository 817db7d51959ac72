/** A remote cache over anything that keeps files by name: `STEP/TARGET/KEY/manifest.json` and `…/SHA256.br`. */
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { OutputId, RemoteCache } from '@nodeos/engine';

export interface Store {
  /** Shown to the user. */
  readonly name: string;
  /** @returns undefined if there is no such file */
  get(path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array> | undefined>;
  put(path: string, content: Content, signal: AbortSignal): Promise<void>;
}

export interface Content {
  /** In bytes. */
  readonly size: number;
  readonly open: () => Readable | Uint8Array;
}

export function storeCache(store: Store): RemoteCache {
  return {
    name: store.name,
    manifest: (id, signal) => store.get(`${folderOf(id)}/manifest.json`, signal),
    contents: (id, digest, signal) => store.get(`${folderOf(id)}/${digest}.br`, signal),
    async push(id, { manifest, contents }, signal) {
      const { path, size, sha256 } = contents;
      await store.put(`${folderOf(id)}/${sha256}.br`, { size, open: () => createReadStream(path) }, signal);
      await store.put(`${folderOf(id)}/manifest.json`, { size: manifest.length, open: () => manifest }, signal);
    },
  };
}

const folderOf = ({ step, target, key }: OutputId): string => `${step}/${target}/${key}`;
