/** The slots: places of the kernel's memory for bulk data, one for each request that has some. */
import { readFully, writeFully } from './disk-server.js';
import { SLOT_SIZE } from './protocol.js';

export interface Slot {
  readonly number: number;
  /** Copies from the slot's start. @throws FsError with the code EIO if the kernel says that there are more bytes than asked for */
  read(into: Uint8Array, length: number): void;
  /** A copy of the slot's first bytes. @throws FsError with the code EIO if the slot has fewer */
  bytes(length: number): Buffer;
  /** Copies to the slot's start. */
  write(bytes: Uint8Array): void;
}

export class Slots {
  readonly #free: number[];
  readonly #queue: ((slot: number) => void)[] = [];

  /**
   * @param memory the descriptor of the kernel's memory
   * @param places offsets in it
   * @param check throws FsError with the code EIO if the kernel has ended, or says what is not possible
   */
  constructor(
    private readonly memory: number,
    readonly places: readonly number[],
    private readonly check: (syscall: 'read' | 'write', isPossible: boolean) => void,
  ) {
    this.#free = places.map((_, index) => index);
  }

  /** A slot, while `use` runs. */
  async with<T>(use: (slot: Slot) => Promise<T>): Promise<T> {
    const number = this.#free.pop() ?? (await new Promise<number>((resolve) => this.#queue.push(resolve)));
    try {
      return await use(this.#slot(number));
    } finally {
      const next = this.#queue.shift();
      if (next) next(number);
      else this.#free.push(number);
    }
  }

  #slot(number: number): Slot {
    const { memory, check } = this;
    const place = this.places[number] ?? 0;
    return {
      number,
      read: (into, length) => {
        check('read', length <= into.length);
        readFully(memory, into, 0, length, place);
      },
      bytes: (length) => {
        check('read', length <= SLOT_SIZE);
        const bytes = Buffer.allocUnsafeSlow(length);
        readFully(memory, bytes, 0, length, place);
        return bytes;
      },
      write: (bytes) => {
        check('write', bytes.length <= SLOT_SIZE);
        writeFully(memory, bytes, 0, bytes.length, place);
      },
    };
  }
}
