/** The contents of entries, for the descriptions of images. */
import type { BackendSource, BlockBackend, RegionSource } from '@nodeos/block';
import type { Entry } from '@nodeos/tree';

/** Bytes of a content that is held in memory; larger ones are read when the image is. */
const MAX_HELD = 1 << 20;

/** Whether the content, if there is one, is held in memory: it is small, and in no file of this machine. */
export const isHeld = ({ type, host, size }: Entry): boolean => type !== 'file' || (!host && size <= MAX_HELD);

/**
 * The content of a file that is held in memory; undefined for others, for an empty file, and for anything but a file.
 * @throws RangeError if its length differs from its size
 */
export async function heldContent(entry: Entry): Promise<Buffer | undefined> {
  if (entry.type !== 'file' || !isHeld(entry) || entry.size === 0) return undefined;
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const bytes of entry.open?.() ?? []) {
    length += bytes.length;
    if (length > entry.size) break;
    parts.push(Buffer.from(bytes));
  }
  if (length !== entry.size) throw sizeError(entry, length);
  return Buffer.concat(parts);
}

const sizeError = ({ path, size }: Entry, length: number): RangeError =>
  new RangeError(`${path}: ${length} bytes instead of ${size}`);

/** A content that is not held in memory, from `offset` on. */
export function sourceOf(entry: Entry, offset: number): RegionSource {
  const { host, size } = entry;
  if (!host) return { backend: deviceOf(entry), offset } satisfies BackendSource;
  return { file: host.file, mtime: host.mtime, size: host.size ?? size, offset: (host.offset ?? 0) + offset };
}

/** A content that is being read: where it is, and what was not taken yet. */
interface Reading {
  at: number;
  rest: Uint8Array;
  readonly bytes: AsyncIterator<Uint8Array>;
}

/**
 * A content as a device. A read that begins where the last one ended goes on with it.
 * @throws RangeError on reading if its length differs from its size
 */
function deviceOf(entry: Entry): BlockBackend {
  let last: Reading | undefined;
  const begin = (at: number): Reading => ({
    at,
    rest: new Uint8Array(0),
    bytes: (entry.open?.(at) ?? empty())[Symbol.asyncIterator](),
  });
  return {
    size: entry.size,
    async read(into, offset) {
      const reading = last?.at === offset ? last : begin(offset);
      // It is nobody else's until this is done.
      if (last === reading) last = undefined;
      await fill(entry, reading, into);
      void last?.bytes.return?.();
      last = reading;
    },
    close: () => void last?.bytes.return?.(),
  };
}

async function* empty(): AsyncGenerator<Uint8Array> {
  // A file without a content has none.
}

async function fill(entry: Entry, reading: Reading, into: Uint8Array): Promise<void> {
  for (let done = 0; done < into.length;) {
    if (!(await hasMore(reading))) throw sizeError(entry, reading.at);
    const part = reading.rest.subarray(0, into.length - done);
    into.set(part, done);
    done += part.length;
    reading.at += part.length;
    reading.rest = reading.rest.subarray(part.length);
  }
  if (reading.at === entry.size && (await hasMore(reading))) throw sizeError(entry, reading.at + reading.rest.length);
}

async function hasMore(reading: Reading): Promise<boolean> {
  while (reading.rest.length === 0) {
    const next = await reading.bytes.next();
    if (next.done) return false;
    reading.rest = next.value;
  }
  return true;
}
