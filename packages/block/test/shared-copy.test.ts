/** Copies to and from shared memory, wherever both sides lie within their words. */
import { describe, expect, it } from 'vitest';
import { copyShared } from '../shared-copy.js';

const SIZE = 200_000;
const shared = (): Buffer => Buffer.from(new SharedArrayBuffer(SIZE));
const bytes = Buffer.from(Array.from({ length: SIZE }, (_, index) => (index * 7919) >> 3));

describe('a copy of shared memory', () => {
  const places = [0, 1, 4, 7, 8].flatMap((start) => [0, 3, 4, 28].map((at): [number, number] => [start, at]));
  it.each(places)('is right from byte %d to byte %d', (start, at) => {
    for (const length of [0, 1, 255, 256, 4096, 32 << 10, (32 << 10) + 1, 150_000]) {
      const expected = Buffer.alloc(SIZE, 1);
      bytes.copy(expected, at, start, start + length);
      const [source, plain, target] = [shared(), Buffer.alloc(SIZE, 1), shared().fill(1)];
      bytes.copy(source);
      copyShared(source, start, plain, at, length);
      copyShared(bytes, start, target, at, length);
      expect(plain.equals(expected)).toBe(true);
      expect(Buffer.from(target).equals(expected)).toBe(true);
      // A plain array of bytes that is not a Buffer.
      const array = new Uint8Array(SIZE).fill(1);
      copyShared(source, start, array, at, length);
      expect(Buffer.from(array.buffer).equals(expected)).toBe(true);
    }
  });
});
