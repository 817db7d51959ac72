/** The file that `--trace` names: lines of JSON, one a request, and one for each export before them. */
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import { trace, type BlockBackend, type TraceOptions } from '@nodeos/block';
import { messageOf, NodeosError } from '@nodeos/build';
import { hintFor } from './sources.js';

export interface TraceFile {
  /** The backend, with what is asked of it on record. @param name of the export, for those who read the trace */
  traced(backend: BlockBackend, name: string, options?: TraceOptions): BlockBackend;
  close(): Promise<void>;
}

/** @throws NodeosError if the file cannot be written */
export async function openTrace(path: string): Promise<TraceFile> {
  const handle = await open(path, 'w').catch((error: unknown) => {
    throw new NodeosError(`--trace ${path}: ${messageOf(error)}`, { ...hintFor(error, path), cause: error });
  });
  const stream = createWriteStream(path, { fd: handle });
  stream.on('error', () => undefined);
  return {
    traced(backend, name, options = {}) {
      stream.write(JSON.stringify({ export: name, size: backend.size }) + '\n');
      return trace(backend, stream, options);
    },
    close: () => finished(stream.end()).catch(() => undefined), // a full disk: the rest of it is missing
  };
}
