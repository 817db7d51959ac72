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
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!swapIfBefore(at, parent)) break;
      at = parent;
    }
  }

  function pop(): Event | undefined {
    const [first] = heap;
    const last = heap.pop();
    if (last === undefined || first === last) return first;
    heap[0] = last;
    for (let at = 0; ;) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      const least = isBefore(right, left) ? right : left;
      if (least >= heap.length || !swapIfBefore(least, at)) return first;
      at = least;
    }
  }

  function isBefore(a: number, b: number): boolean {
    const [one, other] = [heap[a], heap[b]];
    if (!one || !other) return false;
    return one.time < other.time || (one.time === other.time && one.number < other.number);
  }

  function swapIfBefore(a: number, b: number): boolean {
    const [one, other] = [heap[a], heap[b]];
    if (!one || !other || !isBefore(a, b)) return false;
    [heap[a], heap[b]] = [other, one];
    return true;
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
