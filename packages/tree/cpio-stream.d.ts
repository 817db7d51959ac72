/** cpio-stream 1.4 has no types of its own. */
declare module 'cpio-stream' {
  import type { Readable, Writable } from 'node:stream';

  export type Header = import('./cpio.js').CpioHeader;

  export interface Pack extends Readable {
    _encode: (header: Header) => Buffer;
    /** The end of an archive is padded to a multiple of this many bytes. */
    padding: number;
    entry(header: Header, callback: (error?: Error | null) => void): Writable;
    entry(header: Header, content: Buffer, callback: (error?: Error | null) => void): Writable;
    finalize(): void;
  }

  const cpio: { pack(options: { format: 'newc' }): Pack };
  export default cpio;
}
