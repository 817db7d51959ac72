/** Tracks which bytes of a read have arrived, so that none arrives twice and none is missing. */
import { ProtocolError } from '../wire/protocol.js';

/** No server has a reason to leave more gaps. */
const MAX_PARTS = 1 << 14;

export class Coverage {
  /** In ascending order; adjacent parts are merged. */
  readonly #parts: { readonly from: number; readonly to: number }[] = [];

  /** @throws ProtocolError if a byte has already arrived, or if there are too many gaps */
  add(from: number, length: number): void {
    const to = from + length;
    const index = this.#firstFrom(from);
    const [previous, next] = [this.#parts[index - 1], this.#parts[index]];
    if ((previous && previous.to > from) || (next && next.from < to))
      throw new ProtocolError(`${length} bytes of a read that came before`);
    const joinsPrevious = previous?.to === from;
    const joinsNext = next?.from === to;
    const part = { from: joinsPrevious ? previous.from : from, to: joinsNext ? next.to : to };
    this.#parts.splice(index - Number(joinsPrevious), Number(joinsPrevious) + Number(joinsNext), part);
    if (this.#parts.length > MAX_PARTS) throw new ProtocolError(`a read in more than ${MAX_PARTS} parts`);
  }

  /** Whether exactly the first `length` bytes have arrived. */
  isWhole(length: number): boolean {
    const [only, more] = this.#parts;
    return only !== undefined && more === undefined && only.from === 0 && only.to === length;
  }

  /** @returns the index of the first part that begins at or after `from` */
  #firstFrom(from: number): number {
    let low = 0;
    for (let high = this.#parts.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((this.#parts[middle]?.from ?? 0) < from) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
