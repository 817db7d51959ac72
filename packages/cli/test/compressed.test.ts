import { describe, expect, it } from 'vitest';
import { unpacked } from '../compressed.js';

describe('compressed sources', () => {
  it.each([
    ['disk.img.zst', 'zstd:disk.img.zst'],
    ['/a/b.xz', 'xz:/a/b.xz'],
    ['https://example.org/disk.img.zst', 'zstd:https://example.org/disk.img.zst'],
    ['s3://bucket/disk.xz', 'xz:s3://bucket/disk.xz'],
    ['zstd:disk.img.zst', 'zstd:disk.img.zst'],
    ['partition:1:zstd:disk.img.zst', 'partition:1:zstd:disk.img.zst'],
    ['disk.img', 'disk.img'],
    ['zst', 'zst'],
  ])('%s is %s', (source, wanted) => {
    expect(unpacked(source)).toBe(wanted);
  });
});
