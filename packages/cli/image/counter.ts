/** Shows how many files are done: one changing line on a terminal, nothing elsewhere. */
import { formatSize } from '@nodeos/base';
import type { Io } from '../command.js';

export interface Counter {
  readonly files: number;
  readonly bytes: number;
  /** These can be taken off the object. */
  readonly onEntry: () => void;
  readonly onBytes: (bytes: number) => void;
  /** Removes the line. Can be done twice. */
  readonly close: () => void;
}

const INTERVAL_MS = 100;

/** @param action the verb of the line: `copied` */
export function counter(action: string, { stderr }: Pick<Io, 'stderr'>): Counter {
  let last = performance.now();
  let [files, bytes, isShown] = [0, 0, false];
  const show = (): void => {
    if (!stderr.isTTY || performance.now() - last < INTERVAL_MS) return;
    last = performance.now();
    isShown = true;
    stderr.write(`\r${action} ${files} files, ${formatSize(bytes)}\x1b[K`);
  };
  return {
    get files() {
      return files;
    },
    get bytes() {
      return bytes;
    },
    onEntry: () => {
      files++;
      show();
    },
    onBytes: (count) => {
      bytes += count;
      show();
    },
    close: () => {
      if (isShown) stderr.write('\r\x1b[K');
      isShown = false;
    },
  };
}
