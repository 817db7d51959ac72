// The writes of the crash test, the same for the one who makes them and the one who checks them.
export const SECTOR = 512;
export const SECTORS = 512;

/** Where write number `n` goes, in sectors. Every number in these sectors is `n`. */
export function writeOf(n) {
  const mixed = Math.imul(n ^ (n >>> 13), 0x9e3779b1) >>> 0;
  const first = mixed % SECTORS;
  return { first, count: Math.min(1 + ((mixed >>> 16) % 40), SECTORS - first) };
}
