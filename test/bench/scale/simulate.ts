/**
 * Many starts of machines from one origin, in virtual time. The model:
 *
 * - A machine reads the chunks of its trace one after the other. Between two of them it computes for as long as the trace
 *   says. It answers after the last one, and after the rest of its computing. Machines do not slow each other down.
 * - A server is opened for an image by three requests, one after the other (recipe, keys, start list). With a start list it
 *   then fetches the chunks of the trace in their order, 16 at a time; what a machine waits for goes first.
 * - Each host, and the origin, has a link that carries one transfer after the other in each direction. A request takes half a
 *   round trip, and so does the first byte of its answer.
 * - Memory takes no time. A disk takes a fixed time and its speed for each chunk, whatever else it does.
 *
 * Left out: the bytes of recipes, the start of TCP connections, lost packets, and unpacking, which is in the traces.
 */
import { ownerOf } from '@nodeos/store';
import { random } from '@nodeos/block';
import { virtualClock, type Clock } from './clock.js';
import { linkOf } from './network.js';
import {
  shared,
  simulatedServer,
  type DiskSettings,
  type Origin,
  type ServerSettings,
  type SimulatedServer,
} from './server.js';
import type { Read, Trace } from './traces.js';

export interface Setup {
  readonly hosts: number;
  /** Of the origin, and of each host, in each direction. */
  readonly originBytesPerSecond: number;
  readonly hostBytesPerSecond: number;
  /** Milliseconds to the origin and back, and to another host and back. */
  readonly roundTrip: number;
  readonly hop: number;
  /** One server for each host, or for each machine. */
  readonly scope: 'host' | 'machine';
  /** Bytes of chunks in the memory of a server. */
  readonly memory: number;
  /** Of each host. Undefined: none. */
  readonly disk: DiskSettings | undefined;
  readonly hasList: boolean;
  readonly hasPeers: boolean;
}

export interface Start {
  /** Milliseconds. */
  readonly at: number;
  readonly host: number;
  readonly trace: Trace;
}

export interface Simulated {
  readonly originBytes: number;
  readonly originRequests: number;
  /** Milliseconds from each start to its answer, in the order of `starts`. */
  readonly times: readonly number[];
}

/** Chunks that are fetched at once for an image. */
const REQUESTS = 16;
/** Recipe, keys, start list. */
const OPENING_REQUESTS = 3;

/** Starts at random moments, evenly over the hosts and the images. The same seed gives the same starts. */
export function randomStarts(
  traces: readonly Trace[],
  {
    count,
    hosts,
    over,
    seed,
  }: { readonly count: number; readonly hosts: number; readonly over: number; readonly seed: number },
): Start[] {
  const draw = random(seed);
  const below = (most: number): number => Math.floor(draw() * most);
  return Array.from({ length: count }, () => {
    const trace = traces[below(traces.length)];
    if (!trace) throw new TypeError('no traces');
    return { at: draw() * over, host: below(hosts), trace };
  });
}

export function simulate(starts: readonly Start[], setup: Setup): Simulated {
  const clock = virtualClock();
  const origin: Origin = { up: linkOf(setup.originBytesPerSecond), roundTrip: setup.roundTrip, bytes: 0, requests: 0 };
  const serverFor = serversOf(clock, origin, setup);
  const times = new Array<number>(starts.length).fill(NaN);
  for (const [number, { at, host, trace }] of starts.entries())
    clock.after(at, () => {
      const image = serverFor(host).open(trace);
      image.whenOpen(() => runMachine(clock, trace, image, () => (times[number] = clock.now - at)));
    });
  clock.run();
  return { originBytes: origin.bytes, originRequests: origin.requests, times };
}

/** The servers, each made when it is needed. */
function serversOf(clock: Clock, origin: Origin, setup: Setup): (host: number) => ImageServer {
  const names = Array.from({ length: setup.hosts }, (_, host) => `http://host-${host}:9200`);
  const links = names.map(() => ({ down: linkOf(setup.hostBytesPerSecond), up: linkOf(setup.hostBytesPerSecond) }));
  const owners = new Map<string, number>();
  const servers = new Map<number, ImageServer>();

  const owner = (id: string): SimulatedServer => {
    const known = owners.get(id) ?? names.indexOf(ownerOf(id, names));
    owners.set(id, known);
    return atHost(known).server;
  };

  function make(host: number): ImageServer {
    const link = links[host];
    if (!link) throw new RangeError(`host ${host} of ${setup.hosts}`);
    const { memory, disk, hop, hasPeers, hasList } = setup;
    const settings: ServerSettings = {
      clock,
      origin,
      ...link,
      memory,
      disk,
      hop,
      ownerOf: hasPeers ? owner : undefined,
    };
    return imageServer(simulatedServer(settings), clock, { opening: OPENING_REQUESTS * origin.roundTrip, hasList });
  }

  function atHost(host: number): ImageServer {
    const server = servers.get(host) ?? make(host);
    servers.set(host, server);
    return server;
  }
  return setup.scope === 'host' ? atHost : make;
}

interface ImageServer {
  readonly server: SimulatedServer;
  /** The image of the trace, which is opened once. */
  open(trace: Trace): OpenImage;
}

interface OpenImage {
  whenOpen(work: () => void): void;
  read(chunk: Read, done: () => void): void;
}

function imageServer(
  server: SimulatedServer,
  clock: Clock,
  { opening, hasList }: { readonly opening: number; readonly hasList: boolean },
): ImageServer {
  const images = new Map<string, OpenImage>();
  return {
    server,
    open(trace) {
      const known = images.get(trace.image);
      if (known) return known;
      const image = openImage(server, clock, opening);
      images.set(trace.image, image);
      if (hasList) image.whenOpen(() => image.fetchAhead(trace.reads));
      return image;
    },
  };
}

function openImage(
  server: SimulatedServer,
  clock: Clock,
  opening: number,
): OpenImage & { fetchAhead(chunks: readonly Read[]): void } {
  const opened = clock.now + opening;
  const slots = slotsOf(REQUESTS);
  const obtain = shared((chunk, done, isAhead: boolean) =>
    slots(isAhead, (free) =>
      server.get(chunk, () => {
        free();
        done();
      }),
    ),
  );
  return {
    whenOpen: (work) => clock.after(Math.max(0, opened - clock.now), work),
    read: (chunk, done) => obtain(chunk, done, false),
    fetchAhead(chunks) {
      const next = chunks[Symbol.iterator]();
      const fetchNext = (): void => {
        const { value, done } = next.next();
        if (done !== true) obtain(value, fetchNext, true);
      };
      for (let slot = 0; slot < REQUESTS; slot++) fetchNext();
    },
  };
}

/** At most `count` at a time; those that somebody waits for go before those that are done ahead. */
function slotsOf(count: number): (isAhead: boolean, work: (free: () => void) => void) => void {
  const [urgent, later]: [(() => void)[], (() => void)[]] = [[], []];
  let free = count;
  const release = (): void => {
    const next = urgent.shift() ?? later.shift();
    if (next) next();
    else free++;
  };
  return (isAhead, work) => {
    if (free === 0) return void (isAhead ? later : urgent).push(() => work(release));
    free--;
    work(release);
  };
}

function runMachine(clock: Clock, { reads, rest }: Trace, image: OpenImage, done: () => void): void {
  const step = (number: number): void => {
    const chunk = reads[number];
    if (!chunk) return clock.after(rest, done);
    clock.after(chunk.after, () => image.read(chunk, () => step(number + 1)));
  };
  step(0);
}
