import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { blockSizeOf, diskMap, type DiskMapOptions } from '../picture.js';

const MIB = 1 << 20;
const options: DiskMapOptions = {
  title: 'A "disk" & <more>',
  size: MIB + 100,
  reads: [
    { t: 0, offset: 0, length: 4096 },
    { t: 50, offset: 0, length: 8192 },
    { t: 100, offset: MIB, length: 100 },
  ],
  written: 8192,
};

/** The indexes of the squares of a colour. */
function squares(svg: string, colour: string): number[] {
  const [, path = ''] = new RegExp(`<path fill="${colour}" d="([^"]*)"`).exec(svg) ?? [];
  return [...path.matchAll(/M(\d+) (\d+)h7v7h-7z/g)].map(
    ([, x, y]) => (Number(x) - 32) / 8 + ((Number(y) - 96) / 8) * 128,
  );
}

describe('diskMap', () => {
  it('colours each block by its first read, and leaves unread blocks grey', () => {
    const svg = diskMap(options);
    expect(squares(svg, '#440154')).toEqual([0]); // read twice: the first read counts
    expect(squares(svg, '#fee825')).toEqual([256]); // the last block is incomplete
    expect(squares(svg, '#ececec')).toEqual(Array.from({ length: 254 }, (_, index) => index + 2));
    expect(svg.match(/M\d/g)).toHaveLength(257);
  });

  it('shows the totals and the scale', () => {
    const svg = diskMap(options);
    expect(svg).toContain('8.1 KiB of 1.0 MiB were read: 0.8 % · 12.1 KiB in 3 requests · 8 KiB written');
    for (const tick of ['0 ms', '25 ms', '50 ms', '75 ms', '100 ms']) expect(svg).toContain(`>${tick}</text>`);
    expect(svg).toContain('a square is 4 KiB');
  });

  it('is the same for the same reads in any order', () => {
    expect(diskMap(options)).toBe(diskMap({ ...options, reads: [...options.reads].reverse() }));
  });

  it('limits the number of squares for any disk', () => {
    for (const size of [0, 1, 48 * MIB, 48 * MIB + 1, 2 ** 40]) {
      const block = blockSizeOf(size);
      expect(size / block).toBeLessThanOrEqual(128 * 96);
      expect(Math.log2(block) % 1).toBe(0);
    }
    expect([blockSizeOf(48 * MIB), blockSizeOf(48 * MIB + 1)]).toEqual([4096, 8192]);
    expect(diskMap({ title: '', size: 0, reads: [] })).toContain('0 bytes of 0 bytes were read: 0.0 %');
  });

  it('replaces characters that XML cannot represent', () => {
    expect(diskMap({ ...options, title: 'a\0b\x1b[1mc\ud800d\u{1f4be}' })).toContain(
      '<title>a\ufffdb\ufffd[1mc\ufffdd\u{1f4be}</title>',
    );
  });

  it.skipIf(spawnSync('python3', ['--version']).status !== 0)('is valid XML with the title', () => {
    const code = 'import sys, xml.dom.minidom as d; print(d.parseString(sys.stdin.buffer.read()).getElementsByTagName("title")[0].firstChild.data)'; // prettier-ignore
    expect(execFileSync('python3', ['-c', code], { input: diskMap(options), encoding: 'utf8' })).toBe(
      `${options.title}\n`,
    );
  });
});
