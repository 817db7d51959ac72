/** Lists which parts of a disk are data and which are holes, like `nbdinfo --map`. */
import { messageOf, NodeosError } from '@nodeos/base';
import { extentsOf, mergeExtents, pieces, type BlockBackend, type Extent } from '@nodeos/block';

/** Bytes to query for extents at once. */
const SPAN = 1 << 30;

/** The state of a part of a disk. */
export interface State {
  /** As in NBD's base:allocation: 1 for a hole, 2 for zeros, 3 for both, 0 for data. */
  readonly type: number;
  readonly description: string;
}

export interface StateRun extends State {
  readonly offset: number;
  readonly length: number;
}

export interface StateTotal extends State {
  readonly size: number;
  readonly percent: number;
}

const NAMES = ['data', 'hole', 'zero', 'hole,zero'];

const stateOf = ({ hole, zero }: Extent): State => {
  const type = (hole ? 1 : 0) + (zero ? 2 : 0);
  return { type, description: NAMES[type] ?? '' };
};

/**
 * Lists the parts that are data, holes or zeros, from the beginning to the end.
 * @param text the name of the disk in messages
 * @throws NodeosError if the device fails to report its extents; the signal's reason
 */
export async function statesOf(source: BlockBackend, text: string, signal?: AbortSignal): Promise<StateRun[]> {
  const extents: Extent[] = [];
  for (const [at, length] of pieces(0, source.size, SPAN)) {
    for (const extent of await readExtents(source, at, length, text)) extents.push(extent);
    signal?.throwIfAborted();
  }
  return mergeExtents(extents).map((extent) => ({ offset: extent.offset, length: extent.length, ...stateOf(extent) }));
}

async function readExtents(source: BlockBackend, at: number, length: number, text: string): Promise<readonly Extent[]> {
  try {
    return await extentsOf(source, at, length);
  } catch (error) {
    throw new NodeosError(`cannot map ${text}: ${messageOf(error)}`, { cause: error });
  }
}

/** Totals for each state. @param size of the disk, in bytes */
export function totalsOf(runs: readonly StateRun[], size: number): StateTotal[] {
  const sums = NAMES.map((description, type) => {
    const sum = runs.filter((run) => run.type === type).reduce((sum, { length }) => sum + length, 0);
    return { size: sum, percent: size === 0 ? 0 : (sum / size) * 100, type, description };
  });
  return sums.filter((sum) => sum.size > 0);
}
