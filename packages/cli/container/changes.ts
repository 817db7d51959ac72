/** The disk that keeps what a container changes. */
import { resolve } from 'node:path';
import { openUpper } from '@nodeos/netroot';

export interface Changes {
  /** Absolute. */
  readonly path: string;
  /** Lets others use it. */
  close(): Promise<void>;
}

/** Makes the disk at its first use, and locks it. @throws NodeosError if another machine has it, or it cannot be made */
export async function openChanges(file: string): Promise<Changes> {
  const path = resolve(file);
  const upper = await openUpper(path);
  return { path, close: async () => upper.close() };
}
