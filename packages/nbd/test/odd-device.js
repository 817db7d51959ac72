/** Devices for tests whose threads see something else than the event loop does. */

/** Zeros; what a read at an offset of MiBs does is in the name. */
const READS = {
  /** The thread ends in the middle. */
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
