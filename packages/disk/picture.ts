/** Draws a disk as a standalone SVG file: which of its blocks were read, and when first. */
import { formatSize } from '@nodeos/base';

export interface Read {
  /** Milliseconds. */
  readonly t: number;
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
}

export interface DiskMapOptions {
  readonly title: string;
  /** Bytes of the disk. */
  readonly size: number;
  readonly reads: readonly Read[];
  /** Bytes written. The picture only shows their sum. Default 0. */
  readonly written?: number;
}

const COLUMNS = 128;
const MAX_ROWS = 96;
const SMALLEST_BLOCK = 4096;
/** `STEP`: pixels from one square to the next. `SQUARE`: pixels of a square. */
const STEP = 8;
const SQUARE = 7;
const MARGIN = 32;
const WIDTH = COLUMNS * STEP - (STEP - SQUARE);
const TOP = 96;
const UNTOUCHED = '#ececec';
/** Number of different colours in the picture. */
const SHADES = 64;
/**
 * Colours from the first to the last read: viridis, whose lightness also shows the time to people who do not see its
 * hues.
 */
const STOPS = ['#440154', '#482878', '#3e4a89', '#31688e', '#26838f', '#1f9d8a', '#6cce5a', '#b6de2b', '#fee825'];

/** Returns the SVG. The same reads give the same text. */
export function diskMap({ title, size, reads, written = 0 }: DiskMapOptions): string {
  const blockSize = blockSizeOf(size);
  const first = firstReads(reads, size, blockSize);
  const last = Math.max(0, ...first.filter((time) => time !== undefined));
  const rows = Math.max(1, Math.ceil(first.length / COLUMNS));
  const height = TOP + rows * STEP + 84;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH + 2 * MARGIN} ${height}" width="${WIDTH + 2 * MARGIN}" height="${height}" font-family="system-ui, sans-serif" font-size="14" fill="#333">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    text(MARGIN, 40, title, 'font-size="20" font-weight="600" fill="#111"'),
    text(MARGIN, 68, totalsOf(reads, size, written)),
    ...squares(first, last),
    ...legend(TOP + rows * STEP + 24, last, blockSize),
    '</svg>',
    '',
  ].join('\n');
}

/** The smallest power of two, in bytes, that keeps the picture within its maximum height. */
export function blockSizeOf(size: number): number {
  let blockSize = SMALLEST_BLOCK;
  while (size > blockSize * COLUMNS * MAX_ROWS) blockSize *= 2;
  return blockSize;
}

/** The time of the first read of each block; undefined if it was never read. */
function firstReads(reads: readonly Read[], size: number, blockSize: number): (number | undefined)[] {
  const first: (number | undefined)[] = Array.from({ length: Math.ceil(size / blockSize) }, () => undefined);
  for (const { t, offset, length } of reads) {
    const end = Math.min(first.length, Math.ceil((offset + length) / blockSize));
    for (let index = Math.floor(offset / blockSize); index < end; index++)
      first[index] = Math.min(t, first[index] ?? t);
  }
  return first;
}

/** One path per colour: a thousandth of the size of one rectangle per square. */
function squares(first: readonly (number | undefined)[], last: number): string[] {
  const paths = new Map<string, string[]>();
  first.forEach((time, index) => {
    const colour = time === undefined ? UNTOUCHED : colourAt(last === 0 ? 0 : time / last);
    const [x, y] = [MARGIN + (index % COLUMNS) * STEP, TOP + Math.floor(index / COLUMNS) * STEP];
    const path = paths.get(colour) ?? [];
    path.push(`M${x} ${y}h${SQUARE}v${SQUARE}h-${SQUARE}z`);
    paths.set(colour, path);
  });
  return [...paths].map(([colour, path]) => `<path fill="${colour}" d="${path.join('')}"/>`);
}

/** @param at from 0 to 1 */
function colourAt(at: number): string {
  const position = (Math.round(at * (SHADES - 1)) / (SHADES - 1)) * (STOPS.length - 1);
  const index = Math.min(STOPS.length - 2, Math.floor(position));
  const [from, to] = [channels(STOPS[index] ?? ''), channels(STOPS[index + 1] ?? '')];
  const mixed = from.map((value, channel) => Math.round(value + ((to[channel] ?? 0) - value) * (position - index)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, '0')).join('')}`;
}

const channels = (colour: string): number[] => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

const SCALE = 480;
const TICKS = 4;

function legend(y: number, last: number, blockSize: number): string[] {
  const stops = STOPS.map((colour, index) => `<stop offset="${index / (STOPS.length - 1)}" stop-color="${colour}"/>`);
  const ticks = Array.from({ length: TICKS + 1 }, (_, index) => {
    const anchor = ['start', ...Array.from({ length: TICKS - 1 }, () => 'middle'), 'end'][index] ?? '';
    return text(
      MARGIN + (SCALE * index) / TICKS,
      y + 34,
      milliseconds((last * index) / TICKS),
      `text-anchor="${anchor}"`,
    );
  });
  const right = MARGIN + SCALE + 48;
  return [
    `<linearGradient id="time">${stops.join('')}</linearGradient>`,
    `<rect x="${MARGIN}" y="${y}" width="${SCALE}" height="14" rx="2" fill="url(#time)"/>`,
    ...ticks,
    `<rect x="${right}" y="${y}" width="14" height="14" rx="2" fill="${UNTOUCHED}"/>`,
    text(right + 22, y + 12, 'never read'),
    text(right, y + 34, `a square is ${formatSize(blockSize)}; row by row, from the first to the last`),
    text(MARGIN + SCALE / 2, y + 54, 'when it was read first', 'text-anchor="middle" fill="#666" font-size="12"'),
  ];
}

function totalsOf(reads: readonly Read[], size: number, written: number): string {
  const distinct = coveredBy(reads);
  const total = reads.reduce((sum, { length }) => sum + length, 0);
  const share = size === 0 ? 0 : (distinct / size) * 100;
  return [
    `${formatSize(distinct)} of ${formatSize(size)} were read: ${share.toFixed(1)} %`,
    `${formatSize(total)} in ${reads.length} requests`,
    ...(written > 0 ? [`${formatSize(written)} written`] : []),
  ].join(' · ');
}

/** Bytes that were read at least once. */
function coveredBy(reads: readonly Read[]): number {
  let [sum, end] = [0, 0];
  for (const { offset, length } of [...reads].sort((a, b) => a.offset - b.offset)) {
    sum += Math.max(0, offset + length - Math.max(offset, end));
    end = Math.max(end, offset + length);
  }
  return sum;
}

const milliseconds = (time: number): string => `${time > 0 && time < 10 ? time.toFixed(1) : Math.round(time)} ms`;

const text = (x: number, y: number, content: string, attributes = ''): string =>
  `<text x="${x}" y="${y}"${attributes && ` ${attributes}`}>${escaped(content)}</text>`;

const escaped = (content: string): string =>
  content
    // XML cannot represent these characters.
    .replace(/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '\uFFFD')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
