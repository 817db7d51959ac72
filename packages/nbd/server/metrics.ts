/** Counters of a server, and their Prometheus text: https://prometheus.io/docs/instrumenting/exposition_formats/ */
import { COMMAND } from '../wire/protocol.js';

/** Upper bounds of the latency histogram, in seconds. */
const BUCKETS = [0.0001, 0.001, 0.01, 0.1, 1, 10];

export interface CommandCounts {
  readonly requests: number;
  readonly errors: number;
  /** Bytes read, written, trimmed …, as stated by the requests. */
  readonly bytes: number;
  readonly seconds: number;
  /** Requests per bucket: each counts in the first bucket that it fits in. The last bucket is for the rest. */
  readonly buckets: readonly number[];
}

const KINDS = Object.values(COMMAND).length;
/** Positions of a command's numbers among its cells. Its buckets follow. */
const [REQUESTS, ERRORS, BYTES, SECONDS, FIRST_BUCKET] = [0, 1, 2, 3, 4] as const;
const WIDTH = FIRST_BUCKET + BUCKETS.length + 1;

/** Counters of one thread. Other threads may read them at any time: each number is consistent, but may lag behind. */
export class Counts {
  constructor(readonly cells: Float64Array = new Float64Array(new SharedArrayBuffer(KINDS * WIDTH * 8))) {}

  count(type: number, bytes: number, seconds: number, failed: boolean): void {
    if (type >= KINDS) return;
    const at = type * WIDTH;
    let bucket = 0;
    while (bucket < BUCKETS.length && seconds > (BUCKETS[bucket] ?? 0)) bucket++;
    this.#add(at + REQUESTS, 1);
    if (failed) this.#add(at + ERRORS, 1);
    this.#add(at + BYTES, bytes);
    this.#add(at + SECONDS, seconds);
    this.#add(at + FIRST_BUCKET + bucket, 1);
  }

  /** Adds the final counts of another thread. */
  include({ cells }: Counts): void {
    cells.forEach((value, index) => this.#add(index, value));
  }

  #add(index: number, value: number): void {
    this.cells[index] = (this.cells[index] ?? 0) + value;
  }
}

export class Metrics {
  readonly #own = new Counts();
  readonly #others = new Set<Counts>();
  /**
   * Connections accepted since the start; how many of these were refused (by a limit, a shutdown, or a failed
   * handshake); how many are open now; and how often one was moved to a thread.
   */
  readonly connections = { accepted: 0, refused: 0, open: 0, moved: 0 };

  /** Counts by the number of the command. */
  get commands(): readonly CommandCounts[] {
    const sum = new Counts();
    for (const counts of [this.#own, ...this.#others]) sum.include(counts);
    return Array.from({ length: KINDS }, (_, type) => {
      const [requests = 0, errors = 0, bytes = 0, seconds = 0, ...buckets] = sum.cells.subarray(
        type * WIDTH,
        (type + 1) * WIDTH,
      );
      return { requests, errors, bytes, seconds, buckets };
    });
  }

  count(type: number, bytes: number, seconds: number, failed: boolean): void {
    this.#own.count(type, bytes, seconds, failed);
  }

  /** Includes the counters of another thread from now on. */
  add(counts: Counts): void {
    this.#others.add(counts);
  }

  /** Keeps the final counts of a thread that has ended. */
  settle(counts: Counts): void {
    if (this.#others.delete(counts)) this.#own.include(counts);
  }

  /** The counters in the Prometheus exposition format, version 0.0.4. */
  text(): string {
    const lines: string[] = [];
    const family = (name: string, type: string, help: string, rows: readonly (readonly [string, number])[]): void => {
      lines.push(`# HELP nbd_${name} ${help}`, `# TYPE nbd_${name} ${type}`);
      for (const [labels, value] of rows) lines.push(`nbd_${name}${labels} ${value}`);
    };
    const { commands } = this;
    const perCommand = (value: (counts: CommandCounts) => number): [string, number][] =>
      Object.entries(COMMAND).flatMap(([name, type]) => {
        const counts = commands[type];
        return counts ? [[`{command="${name.toLowerCase()}"}`, value(counts)]] : [];
      });
    const { accepted, refused, open, moved } = this.connections;
    family('connections_total', 'counter', 'Connections accepted.', [['', accepted]]);
    family(
      'connections_refused_total',
      'counter',
      'Connections turned away by a limit or a shutdown, and handshakes that failed; not clients that left in good order.',
      [['', refused]],
    );
    family('connections', 'gauge', 'Connections open now.', [['', open]]);
    family('connections_moved_total', 'counter', 'Times that a busy connection was given to a thread.', [['', moved]]);
    family(
      'requests_total',
      'counter',
      'Requests answered.',
      perCommand(({ requests }) => requests),
    );
    family(
      'request_errors_total',
      'counter',
      'Requests answered with an error.',
      perCommand(({ errors }) => errors),
    );
    family(
      'request_bytes_total',
      'counter',
      'Bytes of the ranges asked for.',
      perCommand(({ bytes }) => bytes),
    );
    family('request_seconds', 'histogram', 'From the request to its answer.', histogram(commands));
    return lines.join('\n') + '\n';
  }
}

function histogram(commands: readonly CommandCounts[]): [string, number][] {
  return Object.entries(COMMAND).flatMap(([name, type]) => {
    const counts = commands[type];
    if (!counts) return [];
    const command = `command="${name.toLowerCase()}"`;
    let sum = 0;
    const rows = counts.buckets.map((count, index): [string, number] => [
      `_bucket{${command},le="${BUCKETS[index] ?? '+Inf'}"}`,
      (sum += count),
    ]);
    return [...rows, [`_sum{${command}}`, counts.seconds], [`_count{${command}}`, sum]];
  });
}
