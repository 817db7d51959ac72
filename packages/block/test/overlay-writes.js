// The writes of the crash test, shared by the process that makes them and the test that checks them.
export const SECTOR = 512;
export const SECTORS = 512;

/** The sectors of write number `n`. Every number in them is `n`. */
export function writeOf(n) {
  const mixed = Math.imul(n ^ (n >>> 13), 0x9e3779b1) >>> 0;
  const first = mixed % SECTORS;
  return { first, count: Math.min(1 + ((mixed >>> 16) % 40), SECTORS - first) };
}
