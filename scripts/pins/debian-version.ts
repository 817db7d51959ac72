/** Compares Debian's version numbers (https://www.debian.org/doc/debian-policy/ch-controlfields.html#version). */

/** @returns less than 0 if `a` is older than `b`, 0 if they are equal, more than 0 if `a` is newer */
export function compareDebian(a: string, b: string): number {
  const [one, other] = [partsOf(a), partsOf(b)];
  return (
    one.epoch - other.epoch || comparePart(one.upstream, other.upstream) || comparePart(one.revision, other.revision)
  );
}

interface Parts {
  readonly epoch: number;
  readonly upstream: string;
  readonly revision: string;
}

function partsOf(text: string): Parts {
  const [, epoch = '0', version = ''] = /^(?:(\d+):)?(.*)$/s.exec(text) ?? [];
  const hyphen = version.lastIndexOf('-');
  const [upstream, revision] = hyphen < 0 ? [version, ''] : [version.slice(0, hyphen), version.slice(hyphen + 1)];
  return { epoch: Number(epoch), upstream, revision };
}

/**
 * Compares text and numbers in turns. A tilde sorts before everything, even the end. Letters sort before other
 * characters.
 */
function comparePart(a: string, b: string): number {
  const [one, other] = [piecesOf(a), piecesOf(b)];
  for (let i = 0; i < Math.max(one.length, other.length); i++) {
    const [x = '', y = ''] = [one[i], other[i]];
    const order = i % 2 === 0 ? compareText(x, y) : compareNumber(x, y);
    if (order !== 0) return order;
  }
  return 0;
}

/** Alternating text and numbers. The first piece is text, which may be empty. */
const piecesOf = (part: string): string[] => [...(/^\d/.test(part) ? [''] : []), ...(part.match(/\d+|\D+/g) ?? [])];

function compareNumber(a: string, b: string): number {
  const [x, y] = [BigInt(a || '0'), BigInt(b || '0')];
  return x < y ? -1 : x > y ? 1 : 0;
}

function compareText(a: string, b: string): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const order = rank(a[i]) - rank(b[i]);
    if (order !== 0) return order;
  }
  return 0;
}

function rank(character: string | undefined): number {
  if (character === undefined) return 0;
  if (character === '~') return -1;
  return character.charCodeAt(0) + (/[A-Za-z]/.test(character) ? 0 : 256);
}

/** Upstream's version: without the epoch, Debian's revision, and the suffix of a repacked tarball. */
export function upstreamOf(version: string): string {
  const { upstream } = partsOf(version);
  return upstream.replace(/^.*\+really/, '').replace(/[+~.](?:ds|dfsg|repack)[\d.]*$/, '');
}
