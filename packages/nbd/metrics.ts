/** What a server counts, and its text for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/ */
import { COMMAND } from './protocol.js';

/** Upper ends of the latency histogram, in seconds. */
const BUCKETS = [0.0001, 0.001, 0.01, 0.1, 1, 10];

export interface CommandCounts {
  requests: number;
  errors: number;
  /** That were read, written, trimmed …, as the requests said. */
  bytes: number;
  seconds: number;
  /** Of requests, by the first of the buckets that they fit in; the last is for the rest. */
  readonly buckets: number[];
}

export class Metrics {
  readonly commands: readonly CommandCounts[] = Object.values(COMMAND).map(() => ({
    requests: 0,
    errors: 0,
    bytes: 0,
    seconds: 0,
    buckets: Array.from({ length: BUCKETS.length + 1 }, () => 0),
  }));
  /** Accepted since the start; of these refused (by a limit, a shutdown, a handshake that failed); and open now. */
  readonly connections = { accepted: 0, refused: 0, open: 0 };

  count(type: number, bytes: number, seconds: number, failed: boolean): void {
    const counts = this.commands[type];
    if (!counts) return;
    counts.requests++;
    if (failed) counts.errors++;
    counts.bytes += bytes;
    counts.seconds += seconds;
    let bucket = 0;
    while (bucket < BUCKETS.length && seconds > (BUCKETS[bucket] ?? 0)) bucket++;
    counts.buckets[bucket] = (counts.buckets[bucket] ?? 0) + 1;
  }

  /** The exposition format, version 0.0.4. */
  text(): string {
    const lines: string[] = [];
    const family = (name: string, type: string, help: string, rows: readonly (readonly [string, number])[]): void => {
      lines.push(`# HELP nbd_${name} ${help}`, `# TYPE nbd_${name} ${type}`);
      for (const [labels, value] of rows) lines.push(`nbd_${name}${labels} ${value}`);
    };
    const each = (value: (counts: CommandCounts) => number): [string, number][] =>
      Object.entries(COMMAND).flatMap(([name, type]) => {
        const counts = this.commands[type];
        return counts ? [[`{command="${name.toLowerCase()}"}`, value(counts)]] : [];
      });
    const { accepted, refused, open } = this.connections;
    family('connections_total', 'counter', 'Connections accepted.', [['', accepted]]);
    family(
      'connections_refused_total',
      'counter',
      'Connections turned away by a limit or a shutdown, and handshakes that failed; not clients that left in good order.',
      [['', refused]],
    );
    family('connections', 'gauge', 'Connections open now.', [['', open]]);
    family(
      'requests_total',
      'counter',
      'Requests answered.',
      each(({ requests }) => requests),
    );
    family(
      'request_errors_total',
      'counter',
      'Requests answered with an error.',
      each(({ errors }) => errors),
    );
    family(
      'request_bytes_total',
      'counter',
      'Bytes of the ranges asked for.',
      each(({ bytes }) => bytes),
    );
    family('request_seconds', 'histogram', 'From the request to its answer.', this.#histogram());
    return lines.join('\n') + '\n';
  }

  #histogram(): [string, number][] {
    return Object.entries(COMMAND).flatMap(([name, type]) => {
      const counts = this.commands[type];
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
}
