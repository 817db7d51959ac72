/** Virtual time: work that is done at a moment, in the order of the moments. Nothing waits for real. */
export interface Clock {
  /** Milliseconds since the start. */
  readonly now: number;
  /** @param delay in milliseconds, at least 0. Work of the same moment is done in the order in which it was asked for */
  after(delay: number, work: () => void): void;
  /** Does all work, and what that asks for. */
  run(): void;
}

interface Event {
  readonly time: number;
  /** Breaks ties. */
  readonly number: number;
  readonly work: () => void;
}

export function virtualClock(): Clock {
  /** A binary heap: the two events at `2i + 1` and `2i + 2` are not before the one at `i`. */
  const heap: Event[] = [];
  let [now, count] = [0, 0];

  function push(event: Event): void {
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (!above || !isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  function pop(): Event | undefined {
    const [first] = heap;
    const last = heap.pop();
    if (last !== undefined && last !== first) sink(last);
    return first;
  }

  /** Puts an event where the first one was, and then as far down as it belongs. */
  function sink(event: Event): void {
    for (let at = 0; ;) {
      const [child, below] = earlierChild(at);
      if (!below || !isBefore(below, event)) {
        heap[at] = event;
        return;
      }
      heap[at] = below;
      at = child;
    }
  }

  function earlierChild(at: number): [index: number, event: Event | undefined] {
    const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]];
    return left && right && isBefore(right, left) ? [2 * at + 2, right] : [2 * at + 1, left];
  }

  return {
    get now() {
      return now;
    },
    after: (delay, work) => push({ time: now + delay, number: count++, work }),
    run() {
      for (let event = pop(); event; event = pop()) {
        now = event.time;
        event.work();
      }
    },
  };
}

const isBefore = (one: Event, other: Event): boolean =>
  one.time < other.time || (one.time === other.time && one.number < other.number);
