/**
 * The file of `--trace`: one line of JSON per request, after one line per export. A new file is readable by its owner
 * only, because it shows what a machine does.
 */
import { createWriteStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import { trace, type BlockBackend } from '@nodeos/block';
import { messageOf, NodeosError, UsageError } from '@nodeos/base';
import type { Export } from '@nodeos/nbd';
import { hintFor } from './open.js';

export interface TraceFile {
  /** The view that records the users of an export. @param size of the export, in bytes */
  view(name: string, size: number): NonNullable<Export['view']>;
  close(): Promise<void>;
}

/**
 * Opens a trace file.
 * @param inputs files in use at the same time, none of which the trace may overwrite
 * @throws UsageError if the trace is one of `inputs`; NodeosError if the file cannot be written
 */
export async function openTrace(path: string, inputs: readonly string[]): Promise<TraceFile> {
  const identity = await identityOf(path);
  for (const input of inputs)
    if ((await identityOf(input)) === identity)
      throw new UsageError(`--trace ${path}: it is ${input}, which would be overwritten`);
  const handle = await open(path, 'w', 0o600).catch((error: unknown) => {
    throw new NodeosError(`--trace ${path}: ${messageOf(error)}`, { ...hintFor(error, path), cause: error });
  });
  const stream = createWriteStream(path, { fd: handle });
  stream.on('error', () => undefined);
  const since = performance.now();
  return {
    view(name, size) {
      stream.write(JSON.stringify({ export: name, size }) + '\n');
      return (backend: BlockBackend, { connection, address }) =>
        trace(backend, stream, { export: name, client: `${connection} ${address}`, since });
    },
    close: () => finished(stream.end()).catch(() => undefined), // on a full disk, the rest is lost
  };
}

/** An identity that all names of a file share. If the file does not exist yet, its path. */
async function identityOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found ? `${found.dev}:${found.ino}` : resolve(path);
}
