/**
 * Other hosts as a tier. Each chunk has one owner among the hosts (rendezvous hashing: the host with the largest
 * checksum of its URL and the id), which alone asks the store for it. So the store gives each chunk once, whatever the
 * number of hosts, and when a host joins or leaves only its own chunks move.
 */
import { createHash } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { messageOf, NodeosError } from '@nodeos/base';
import { httpPlace } from '@nodeos/places';
import { pathOfChunk, type ChunkStore } from '../chunks.js';
import { MAX_STORED } from '../recipe/public.js';
import type { Tier } from './tiers.js';

export interface PeersOptions {
  /** The URL of this host, as the others have it. */
  readonly self: string;
  /** The URLs of the others. All hosts must have the same list. */
  readonly peers: readonly string[];
  /** Milliseconds after which a host that does not answer is passed by. Default 2000. */
  readonly timeout?: number;
  readonly now?: () => number;
}

/** Milliseconds for which a host that has failed is not asked again. */
const REST = 10_000;

/** The host that owns a chunk. */
export function ownerOf(id: string, hosts: readonly string[]): string {
  const weight = (host: string): string => createHash('sha256').update(`${host} ${id}`).digest('hex');
  return hosts.map((host) => ({ host, weight: weight(host) })).reduce((a, b) => (a.weight > b.weight ? a : b)).host;
}

export function peersTier({ self, peers, timeout = 2000, now = Date.now }: PeersOptions): Tier {
  const hosts = [self, ...peers].sort();
  const places = new Map(peers.map((peer) => [peer, httpPlace(new URL(peer))]));
  const restsUntil = new Map<string, number>();
  return {
    name: 'peers',
    has: () => Promise.resolve(false),
    async get(id) {
      const owner = ownerOf(id, hosts);
      const place = places.get(owner);
      // Its own chunks come from the store, as do those of a host that has failed.
      if (!place || (restsUntil.get(owner) ?? 0) > now()) return undefined;
      try {
        return await place.get(pathOfChunk(id), MAX_STORED, AbortSignal.timeout(timeout));
      } catch (error) {
        restsUntil.set(owner, now() + REST);
        throw new NodeosError(`${owner}: ${messageOf(error)}`, { cause: error });
      }
    },
  };
}

/**
 * Answers other hosts: GET and HEAD of `/chunks/XX/ID`.
 * @param local what this host has and can fetch without asking other hosts, or it would go round in circles
 */
export function chunkServer(local: Pick<ChunkStore, 'get'>): RequestListener {
  return (request, answer) => {
    const [, folder = '', id = ''] = /^\/chunks\/([0-9a-f]{2})\/([0-9a-f]{64})$/.exec(request.url ?? '') ?? [];
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (!isRead || id === '' || !id.startsWith(folder)) return void answer.writeHead(404).end();
    local.get(id).then(
      (stored) => {
        if (!stored) return answer.writeHead(404).end();
        const headers = { 'content-length': stored.length, 'cache-control': 'public, max-age=31536000, immutable' };
        return answer.writeHead(200, headers).end(request.method === 'GET' ? stored : undefined);
      },
      () => answer.writeHead(502).end(),
    );
  };
}
