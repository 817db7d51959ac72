/**
 * The zstd of this system, called through koffi: more than twice as fast as WebAssembly, where Node.js has none. koffi is an
 * optional dependency that brings its own binaries. The library is what Debian 13, Fedora, Alpine and Homebrew have installed.
 */

export interface Library {
  /** As the library says it: 10507 is 1.5.7. */
  readonly version: number;
  /** One frame. @throws Error if the library fails */
  compress(bytes: Uint8Array, level: number): Uint8Array;
}

/** Where the loader of each platform finds it. */
const NAMES: Readonly<Partial<Record<NodeJS.Platform, readonly string[]>>> = {
  linux: ['libzstd.so.1'],
  darwin: ['libzstd.1.dylib', '/opt/homebrew/lib/libzstd.1.dylib', '/usr/local/lib/libzstd.1.dylib'],
};

/** @returns undefined if there is no library, or no koffi */
export async function zstdLibrary(): Promise<Library | undefined> {
  const koffi = await import('koffi').then(
    (module) => module.default,
    () => undefined,
  );
  for (const name of NAMES[process.platform] ?? [])
    try {
      if (koffi) return bound(koffi.load(name));
    } catch {
      continue; // not there, or not for this processor
    }
  return undefined;
}

interface Functions {
  func(prototype: string): (...args: unknown[]) => unknown;
}

function bound(library: Functions): Library {
  const version = library.func('uint32_t ZSTD_versionNumber()') as () => number;
  const compressBound = library.func('size_t ZSTD_compressBound(size_t length)') as (length: number) => number;
  const createContext = library.func('void *ZSTD_createCCtx()');
  const isError = library.func('uint32_t ZSTD_isError(size_t code)') as (code: number) => number;
  const compress = library.func(
    'size_t ZSTD_compressCCtx(void *context, void *to, size_t room, const void *from, size_t length, int level)',
  ) as (...args: unknown[]) => number;
  // One context, and room for its answers, for as long as the process lives.
  const context = createContext();
  let room = Buffer.alloc(0);
  return {
    version: version(),
    compress(bytes, level) {
      const most = compressBound(bytes.length);
      if (room.length < most) room = Buffer.alloc(most);
      const length = compress(context, room, room.length, bytes, bytes.length, level);
      if (isError(length) !== 0) throw new Error(`zstd does not compress ${bytes.length} bytes`);
      return Uint8Array.from(room.subarray(0, length));
    },
  };
}
