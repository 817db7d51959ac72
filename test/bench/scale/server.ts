/**
 * A server of images in virtual time: `nodeos store serve` on a host, or the one of a single machine. It decides as the real one
 * does: the same order of tiers, bounds, owners and slots; each chunk is fetched once, however many wait for it.
 */
import { recentlyUsed, tooMany } from '@nodeos/store';
import type { Clock } from './clock.js';
import { send, type Link } from './network.js';
import type { Read } from './traces.js';

type Chunk = Pick<Read, 'id' | 'bytes'>;
type Done = () => void;

export interface Origin {
  readonly up: Link;
  /** Milliseconds to it and back. */
  readonly roundTrip: number;
  /** What it has sent. */
  bytes: number;
  requests: number;
}

export interface ServerSettings {
  readonly clock: Clock;
  readonly origin: Origin;
  readonly down: Link;
  readonly up: Link;
  /** Bytes of chunks in memory. */
  readonly memory: number;
  /** Undefined: there is none. */
  readonly disk: DiskSettings | undefined;
  /** The server that owns a chunk. Undefined: the servers do not know each other. */
  readonly ownerOf: ((id: string) => SimulatedServer) | undefined;
  /** Milliseconds to another server and back. */
  readonly hop: number;
}

export interface DiskSettings {
  /** Bytes of chunks at most. */
  readonly most: number;
  /** Milliseconds until the first byte of a chunk. */
  readonly seek: number;
  readonly bytesPerSecond: number;
}

export interface SimulatedServer {
  readonly settings: ServerSettings;
  /** For its own machines. */
  get(chunk: Chunk, done: Done): void;
  /** For other servers: what this one has, or fetches from the origin. */
  local(chunk: Chunk, done: Done): void;
}

export function simulatedServer(settings: ServerSettings): SimulatedServer {
  const { clock, origin, down, memory: most, disk } = settings;
  const memory = recentlyUsed<string, number>(most, (bytes) => bytes);
  const onDisk = diskOf(disk);
  const fromOrigin = shared(({ bytes }, done) => {
    const half = origin.roundTrip / 2;
    origin.bytes += bytes;
    origin.requests++;
    send(clock, { from: origin.up, to: down, bytes, latency: half, ahead: half }, done);
  });

  /** First what is near, then `farther`, which the near tiers keep. */
  const tiered = (farther: (chunk: Chunk, done: Done) => void): ((chunk: Chunk, done: Done) => void) =>
    shared((chunk, done) => {
      const { id, bytes } = chunk;
      if (memory.get(id) !== undefined) return done();
      if (disk && onDisk.has(id, clock.now)) {
        clock.after(disk.seek + (bytes / disk.bytesPerSecond) * 1000, () => {
          memory.keep(id, bytes);
          done();
        });
        return;
      }
      farther(chunk, () => {
        memory.keep(id, bytes);
        onDisk.keep(id, bytes, clock.now);
        done();
      });
    });

  const local = tiered(fromOrigin);
  const get = tiered((chunk, done) => {
    const owner = settings.ownerOf?.(chunk.id) ?? server;
    if (owner === server) return fromOrigin(chunk, done);
    const latency = settings.hop / 2;
    const answer = { from: owner.settings.up, to: down, bytes: chunk.bytes, latency };
    clock.after(latency, () => owner.local(chunk, () => send(clock, answer, done)));
  });
  const server: SimulatedServer = { settings, get, local };
  return server;
}

/** Those that wait for the same chunk share one request. */
export function shared<More extends unknown[]>(
  fetch: (chunk: Chunk, done: Done, ...more: More) => void,
): (chunk: Chunk, done: Done, ...more: More) => void {
  const under = new Map<string, Done[]>();
  return (chunk, done, ...more) => {
    const waiting = under.get(chunk.id);
    if (waiting) return void waiting.push(done);
    const all = [done];
    under.set(chunk.id, all);
    const share = (): void => {
      under.delete(chunk.id);
      for (const one of all) one();
    };
    fetch(chunk, share, ...more);
  };
}

/** The folder of `--cache`, with the real bound. */
function diskOf(settings: DiskSettings | undefined) {
  const files = new Map<string, { readonly id: string; readonly size: number; modified: number }>();
  let added = 0;
  return {
    has(id: string, now: number): boolean {
      const file = files.get(id);
      if (file) file.modified = now;
      return file !== undefined;
    },
    keep(id: string, size: number, now: number): void {
      if (!settings || size > settings.most / 8) return;
      files.set(id, { id, size, modified: now });
      added += size;
      if (added <= settings.most / 32) return;
      added = 0;
      for (const { id: old } of tooMany([...files.values()], settings.most)) files.delete(old);
    },
  };
}
