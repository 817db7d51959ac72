/** Devices for tests in which threads see other contents than the event loop. */

/** What a read does, by its offset in MiB: bytes of 1, the end of the thread, a late answer, an error. */
const READS = {
  /** A synchronous answer; the event loop's device has zeros. */
  0: (into) => into.fill(1),
  1: () => process.exit(3),
  2: (into) => new Promise((resolve) => setTimeout(() => resolve(into.fill(2)), 20)),
  3: () => {
    throw Object.assign(new Error('broken here'), { code: 'ENOSPC' });
  },
};

export const open = ({ size }) => ({
  size,
  read: (into, offset) => {
    const answer = READS[Math.floor(offset / 2 ** 20)](into);
    return answer instanceof Promise ? answer.then(() => undefined) : undefined;
  },
  close: () => undefined,
});

export function refuse() {
  throw new Error('not in a thread');
}
