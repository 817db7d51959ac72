/** Packs the files of an output into one stream, and unpacks them: one after the other, by Brotli (RFC 7932). */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, mkdir, open, readlink, stat, symlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createBrotliCompress, createBrotliDecompress } from 'node:zlib';
import { listTree } from '../hash.js';
import { UntrustedError, type SharedFile, type SharedManifest } from './shared-manifest.js';

/** Higher ones take three times as long, for 6 % of the size. */
const QUALITY = 5;
/** Bits of the window. The decoder needs as much memory: 16 MiB. */
const WINDOW = 24;

/** The files of an output, as a manifest lists them. */
export async function sharedFiles(output: string): Promise<SharedFile[]> {
  const records = await listTree(output);
  return Promise.all(
    records.map(async ({ path, type, mode, size, sha256 }): Promise<SharedFile> => {
      if (type === 'symlink') return { path, type, mode: 0o777, size: 0, link: await readlink(join(output, path)) };
      return { path, type, mode: mode & 0o777, size, ...(type === 'file' && sha256 !== undefined ? { sha256 } : {}) };
    }),
  );
}

/** Packs files into the file `to`. @returns its size and SHA-256 */
export async function packFiles(
  output: string,
  files: readonly SharedFile[],
  to: string,
  signal: AbortSignal,
): Promise<{ size: number; sha256: string }> {
  async function* chunks(): AsyncGenerator<Buffer> {
    for (const { path, type } of files)
      if (type === 'file') yield* createReadStream(join(output, path), { highWaterMark: 1 << 20 });
  }
  const size = files.reduce((sum, file) => sum + file.size, 0);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: QUALITY,
    [constants.BROTLI_PARAM_LGWIN]: WINDOW,
    [constants.BROTLI_PARAM_SIZE_HINT]: Math.min(size, 2 ** 30),
  };
  const hash = createHash('sha256');
  const hashed = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  await pipeline(Readable.from(chunks()), createBrotliCompress({ params }), hashed, createWriteStream(to), { signal });
  return { size: (await stat(to)).size, sha256: hash.digest('hex') };
}

/**
 * Unpacks files into a folder, checking each.
 * @param packed not trusted: it may be anything, and endless
 * @param onBytes is told the packed bytes so far
 * @throws UntrustedError if it is not what the manifest says
 */
export async function unpackFiles(
  packed: AsyncIterable<Uint8Array>,
  { files, contents }: SharedManifest,
  into: string,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const hash = createHash('sha256');
  let received = 0;
  const checked = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      received += chunk.length;
      if (received > contents.size)
        return done(new UntrustedError(`it has more than the ${contents.size} bytes listed`));
      hash.update(chunk);
      onBytes(received);
      done(null, chunk);
    },
    flush(done) {
      const isWhole = received === contents.size && hash.digest('hex') === contents.sha256;
      done(isWhole ? null : new UntrustedError(`its ${received} bytes are not the ${contents.size} listed`));
    },
  });
  const writer = new FilesWriter(into, files);
  await writer.begin();
  /** The pipeline may report the end of its other parts instead. */
  let cause: unknown;
  try {
    await pipeline(
      Readable.from(packed, { objectMode: false }),
      checked,
      createBrotliDecompress(),
      async (unpacked: AsyncIterable<Buffer>) => {
        try {
          for await (const chunk of unpacked) await writer.write(chunk);
        } catch (error) {
          cause ??= error;
          throw error;
        }
      },
      { signal },
    );
    await writer.end();
  } catch (error) {
    if (/^ERR__ERROR|^Z_|BROTLI/.test(String((error as NodeJS.ErrnoException).code)))
      throw new UntrustedError('it is not packed by Brotli', { cause: error });
    throw cause instanceof UntrustedError ? cause : error;
  } finally {
    await writer.close();
  }
}

/** Writes the bytes of all files one after the other into the files. */
class FilesWriter {
  readonly #folders: SharedFile[] = [];
  #next = 0;
  #handle: FileHandle | undefined;
  #hash = createHash('sha256');
  #left = 0;

  constructor(
    private readonly into: string,
    private readonly files: readonly SharedFile[],
  ) {}

  async begin(): Promise<void> {
    await this.#advance();
  }

  async write(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      if (!this.#handle) throw new UntrustedError('it has more bytes than its files');
      const part = chunk.subarray(at, at + this.#left);
      await this.#handle.write(part);
      this.#hash.update(part);
      this.#left -= part.length;
      at += part.length;
      if (this.#left === 0) await this.#advance();
    }
  }

  async end(): Promise<void> {
    if (this.#handle) throw new UntrustedError(`it ends within ${this.#current.path}`);
    // Folders get their permissions last: one may be read-only.
    for (const { path, mode } of this.#folders.reverse()) await chmod(join(this.into, path), mode);
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }

  get #current(): SharedFile {
    return this.files[this.#next - 1] as SharedFile;
  }

  /** Finishes the open file, and makes everything up to the next file that has bytes. */
  async #advance(): Promise<void> {
    if (this.#handle) await this.#finish();
    for (; this.#next < this.files.length;) {
      const file = this.files[this.#next++] as SharedFile;
      const path = join(this.into, file.path);
      if (file.type === 'directory') {
        await mkdir(path, { mode: 0o700 });
        this.#folders.push(file);
      } else if (file.type === 'symlink') {
        await symlink(file.link ?? '', path);
      } else {
        this.#handle = await open(path, 'wx', 0o600);
        this.#hash = createHash('sha256');
        this.#left = file.size;
        if (file.size > 0) return;
        await this.#finish();
      }
    }
  }

  async #finish(): Promise<void> {
    const { path, mode, sha256 } = this.#current;
    await this.close();
    if (this.#hash.digest('hex') !== sha256) throw new UntrustedError(`the content of ${path} is another one`);
    await chmod(join(this.into, path), mode);
  }
}
